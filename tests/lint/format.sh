#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails, naming the place, when a C file is not as clang-format would write it.
set -eu
cd "$(dirname "$0")/../.."
git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
