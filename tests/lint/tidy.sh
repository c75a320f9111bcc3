#!/bin/sh
# SPDX-License-Identifier: MIT
# clang-tidy over src/, with the compile commands of the build folder named first.
# usage: tidy.sh BUILD-DIR [FILE...]
set -eu
cd "$(dirname "$0")/../.."
build=$1
shift
# What is not built here (another host's files, a library that is not wanted) is not looked at.
[ $# -gt 0 ] || set -- $(git ls-files 'src/*.c' |
    while read -r file; do ! grep -q "/$file\"" "$build/compile_commands.json" || echo "$file"; done)
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 8 clang-tidy --quiet -p "$build" 2>/dev/null
