#!/bin/sh
# SPDX-License-Identifier: MIT
# clang-tidy over src/, with the compile commands of the build folder named first.
# usage: tidy.sh BUILD-DIR [FILE...]
set -eu
cd "$(dirname "$0")/../.."
build=$1
shift
[ $# -gt 0 ] || set -- $(git ls-files 'src/*.c' | grep -v /macos/)
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 8 clang-tidy --quiet -p "$build" 2>/dev/null
