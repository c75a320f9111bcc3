# SPDX-License-Identifier: MIT
# A thin front: Meson does the work. `make help` lists what there is.

BUILD ?= build

.PHONY: all demo check test lint format bench macos package-macos deps clean help

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/install-deps run
	@meson setup $(BUILD)

demo: ## install what is missing, build, make a Debian guest and show it running
	@tools/install-deps run
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)/pearvisor

check: ## every build, every test; ends with "N passed, N failed, N skipped"
	@tools/install-deps run check
	@tools/check

test: all ## the tests of the ordinary build only
	@meson test -C $(BUILD) --print-errorlogs

lint: all ## layering, format and clang-tidy
	@meson test -C $(BUILD) --suite lint --print-errorlogs

format: ## rewrite the C files as clang-format has them
	@git ls-files '*.c' '*.h' | xargs clang-format -i

bench: all ## list the benchmarks; run one with bench/run NAME
	@bench/run --list

macos: ## build the program for macOS on Apple Silicon, sign and check it (on Linux)
	@tools/install-deps run check
	@tools/cross/macos/build

package-macos: macos ## ... and lay out an application bundle and a tar of it
	@tools/cross/macos/package

deps: ## install the Debian packages that building and testing need
	@tools/install-deps run check

clean: ## remove the build folders
	rm -rf build build-*

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10
