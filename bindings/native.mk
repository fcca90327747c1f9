# SPDX-License-Identifier: Apache-2.0
# Targets of the native core: build, lint, and the safety checks. Run from the repository root.

PYTHON ?= .venv/bin/python
GCC ?= gcc
CLANG ?= $(shell command -v clang || command -v clang-14)
CSRC := bindings/csrc
NATIVE_C := $(sort $(wildcard $(CSRC)/*.c))
NATIVE_H := $(sort $(wildcard $(CSRC)/*.h))
NATIVE_FLAGS := -std=c11 -O3 -fvisibility=hidden -g0
NATIVE_WARN := -Wall -Wextra -Wconversion -Wpedantic -Werror

.PHONY: native native-lint

native:
	$(PYTHON) bindings/build_native.py

native-lint:
	for cc in $(GCC) $(CLANG); do for c in $(NATIVE_C); do \
	  $$cc $(NATIVE_FLAGS) $(NATIVE_WARN) -c $$c -o /dev/null || exit 1; \
	done; done
