# SPDX-License-Identifier: Apache-2.0
# Targets of the native core: build, lint, and the safety checks. Run from the repository root:
# `make -f bindings/native.mk native-asan`, or through the Makefile that includes this file.
# Nothing here installs anything; a missing tool is named with the Debian package that has it.

PYTHON ?= .venv/bin/python
GCC ?= gcc
CLANG ?= $(shell command -v clang || command -v clang-14 || echo clang)
CSRC := bindings/csrc
NATIVE_C := $(sort $(wildcard $(CSRC)/*.c))
NATIVE_H := $(sort $(wildcard $(CSRC)/*.h))
NATIVE_FLAGS := -std=c11 -O3 -fvisibility=hidden -g0
NATIVE_WARN := -Wall -Wextra -Wconversion -Wpedantic -Werror
NATIVE_OUT := build/native-checks

# $(call need,command,Debian package): stop, saying what is missing.
need = @command -v $(1) >/dev/null || { echo "$@: no $(1); Debian package: $(2)" >&2; exit 1; }

.PHONY: native native-lint native-asan native-fuzz native-ct native-memscan native-cross

native:
	$(PYTHON) bindings/build_native.py

# ---- Lint: our own files with every warning an error, on both compilers and a 32-bit target ----

native-lint:
	$(call need,$(GCC),gcc)
	$(call need,$(CLANG),clang)
	@for cc in $(GCC) $(CLANG); do for c in $(NATIVE_C); do \
	  $$cc $(NATIVE_FLAGS) $(NATIVE_WARN) -c $$c -o /dev/null || exit 1; \
	done; done; echo "native-lint: $(words $(NATIVE_C)) files, no warning"

# ---- AddressSanitizer and UndefinedBehaviorSanitizer over tests/native -------------------------

ASAN_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
              -fno-sanitize-recover=all
ASAN_TESTS ?= tests/native
ASAN_PATHS ?= $(shell $(PYTHON) bindings/checks/paths.py)

native-asan:
	$(call need,$(GCC),gcc)
	rm -rf $(NATIVE_OUT)/asan && mkdir -p $(NATIVE_OUT)/asan/qpher_native
	cp bindings/qpher_native/*.py* $(NATIVE_OUT)/asan/qpher_native/
	QPHER_NATIVE_CFLAGS="$(ASAN_FLAGS)" QPHER_NATIVE_LDFLAGS="-fsanitize=address,undefined" \
	QPHER_NATIVE_TARGET=$(NATIVE_OUT)/asan QPHER_NATIVE_BUILD=$(NATIVE_OUT)/asan/obj \
	CC=$(GCC) $(PYTHON) bindings/build_native.py
	@for path in $(ASAN_PATHS); do echo "native-asan: $$path"; \
	  env LD_PRELOAD="$$($(GCC) -print-file-name=libasan.so) $$($(GCC) -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 QPHER_NATIVE_CPU=$$path \
	  QPHER_NATIVE_PATH=$(CURDIR)/$(NATIVE_OUT)/asan \
	  QPHER_INTERNAL_CFLAGS="$(ASAN_FLAGS)" QPHER_INTERNAL_BUILD=$(NATIVE_OUT)/asan-internal \
	  CC=$(GCC) $(PYTHON) -m pytest -q -p no:cacheprovider $(ASAN_TESTS) || exit 1; \
	done
