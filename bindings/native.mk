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

native: ## build the C core in place
	$(PYTHON) bindings/build_native.py

# ---- Lint: our own files with every warning an error, on both compilers and a 32-bit target ----

native-lint: ## the C core with every warning an error, gcc and clang
	$(call need,$(GCC),gcc)
	$(call need,$(CLANG),clang)
	@for cc in $(GCC) $(CLANG); do for c in $(NATIVE_C); do for level in -O2 -O3; do \
	  $$cc $(NATIVE_FLAGS) $(NATIVE_WARN) $$level -c $$c -o /dev/null || exit 1; \
	done; done; done; echo "native-lint: $(words $(NATIVE_C)) files, no warning"

# ---- AddressSanitizer and UndefinedBehaviorSanitizer over tests/native -------------------------

ASAN_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
              -fno-sanitize-recover=all
ASAN_TESTS ?= tests/native
PATHS ?= $(shell $(PYTHON) bindings/checks/paths.py)

native-asan: ## the C core's tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call need,$(GCC),gcc)
	rm -rf $(NATIVE_OUT)/asan && mkdir -p $(NATIVE_OUT)/asan/qpher_native
	cp bindings/qpher_native/*.py* $(NATIVE_OUT)/asan/qpher_native/
	QPHER_NATIVE_CFLAGS="$(ASAN_FLAGS)" QPHER_NATIVE_LDFLAGS="-fsanitize=address,undefined" \
	QPHER_NATIVE_TARGET=$(NATIVE_OUT)/asan QPHER_NATIVE_BUILD=$(NATIVE_OUT)/asan/obj \
	CC=$(GCC) $(PYTHON) bindings/build_native.py
	@for path in $(PATHS); do echo "native-asan: $$path"; \
	  env LD_PRELOAD="$$($(GCC) -print-file-name=libasan.so) $$($(GCC) -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 QPHER_NATIVE_CPU=$$path \
	  QPHER_NATIVE_PATH=$(CURDIR)/$(NATIVE_OUT)/asan \
	  QPHER_INTERNAL_CFLAGS="$(ASAN_FLAGS)" QPHER_INTERNAL_BUILD=$(NATIVE_OUT)/asan-internal \
	  CC=$(GCC) $(PYTHON) -m pytest -q -p no:cacheprovider --timeout 1800 $(ASAN_TESTS) || exit 1; \
	done

# ---- Fuzzing: every entry point that takes bytes from outside, one process at a time -----------

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := MLKEM_EK MLKEM_DK MLKEM_CT MLDSA_PK MLDSA_SK MLDSA_SIG MLDSA_HINT
FUZZ_FLAGS := -std=c11 -O1 -g -gdwarf-4 -fsanitize=fuzzer,address,undefined \
              -fno-sanitize-recover=all

native-fuzz: ## the C core's entry points, FUZZ_SECONDS each
	$(call need,$(CLANG),clang and libclang-rt-14-dev)
	@for target in $(FUZZ_TARGETS); do \
	  case $$target in MLKEM*) file=fuzz_mlkem.c;; *) file=fuzz_mldsa.c;; esac; \
	  mkdir -p $(NATIVE_OUT)/fuzz/$$target; \
	  $(CLANG) $(FUZZ_FLAGS) -DFUZZ_$$target -I$(CSRC) bindings/fuzz/$$file $(NATIVE_C) \
	    -o $(NATIVE_OUT)/fuzz/$$target.bin || exit 1; \
	  nice -n 19 $(NATIVE_OUT)/fuzz/$$target.bin -max_len=6144 -max_total_time=$(FUZZ_SECONDS) \
	    -artifact_prefix=$(NATIVE_OUT)/fuzz/ $(NATIVE_OUT)/fuzz/$$target \
	    >$(NATIVE_OUT)/fuzz/$$target.log 2>&1 || \
	    { tail -40 $(NATIVE_OUT)/fuzz/$$target.log; exit 1; }; \
	  echo "native-fuzz: $$target: $$(tail -1 $(NATIVE_OUT)/fuzz/$$target.log), no finding"; \
	done

# ---- Constant time -------------------------------------------------------------------------------
# The objects are compiled as the wheels are: CPython's flags, then ours. Memcheck follows poisoned
# secrets on the portable and AVX2 paths; it knows no AVX-512, so there MemorySanitizer does, on
# instrumented objects. Each way must also catch leaks planted in a copy (constant-time/leak.py).

CT_SHIPPED := -fwrapv -DNDEBUG -fPIC -std=c11 -fvisibility=hidden
CT_LEAKS := branch early index call
CT_VALGRIND := valgrind -q --error-exitcode=99
CT_HARNESS := bindings/constant-time

# $(call ct_build,compiler,flags,sources folder,program,output)
ct_build = $(1) -g -gdwarf-4 $(2) -I$(3) -I$(CT_HARNESS) $(CT_HARNESS)/$(4).c $(3)/*.c -o $(5)

native-ct: native-ct-valgrind native-ct-msan native-ct-divisions ## constant time: all of it

native-ct-valgrind: ## constant time: memcheck follows poisoned secrets
	$(call need,valgrind,valgrind)
	$(call need,$(GCC),gcc)
	$(call need,$(CLANG),clang)
	@rm -rf $(NATIVE_OUT)/ct && mkdir -p $(NATIVE_OUT)/ct
	@for cc in $(GCC) $(CLANG); do for level in -O2 -O3; do for program in ct_kem ct_dsa; do \
	  out=$(NATIVE_OUT)/ct/$$program; \
	  $(call ct_build,$$cc,$(CT_SHIPPED) $$level -DQPHER_CT_VALGRIND,$(CSRC),$$program,$$out) || exit 1; \
	  for path in 0 1; do \
	    printf 'native-ct: %s %s valgrind ' "$$(basename $$cc)" $$level; \
	    $(CT_VALGRIND) $$out $$path 2>$$out.log || { cat $$out.log; exit 1; }; \
	  done; \
	done; done; done
	@for kind in $(CT_LEAKS); do for cc in $(GCC) $(CLANG); do \
	  copy=$(NATIVE_OUT)/ct/leak-$$kind; $(PYTHON) $(CT_HARNESS)/leak.py $$kind $$copy; \
	  for program in $$($(PYTHON) $(CT_HARNESS)/leak.py $$kind); do \
	    out=$$copy/$$program; \
	    $(call ct_build,$$cc,$(CT_SHIPPED) -O3 -DQPHER_CT_VALGRIND,$$copy,$$program,$$out) || exit 1; \
	    for path in 0 1; do \
	      $(CT_VALGRIND) $$out $$path >$$out.log 2>&1; \
	      test $$? = 99 || { echo "native-ct: leak '$$kind' in $$program was not caught"; exit 1; }; \
	    done; \
	  done; \
	  echo "native-ct: $$(basename $$cc) valgrind caught the planted leak '$$kind'"; \
	done; done

CT_MSAN := -fsanitize=memory -fno-sanitize-recover=all -D_GNU_SOURCE -Wno-macro-redefined \
           -DQPHER_CT_MSAN -include $(CT_HARNESS)/msan_intrinsics.h -std=c11

native-ct-msan: ## constant time: MemorySanitizer does
	$(call need,$(CLANG),clang and libclang-rt-14-dev)
	@rm -rf $(NATIVE_OUT)/ct-msan && mkdir -p $(NATIVE_OUT)/ct-msan
	@for level in -O1 -O2 -O3; do for program in ct_kem ct_dsa; do \
	  out=$(NATIVE_OUT)/ct-msan/$$program; \
	  $(call ct_build,$(CLANG),$(CT_MSAN) $$level,$(CSRC),$$program,$$out) || exit 1; \
	  for path in $$($(PYTHON) bindings/checks/paths.py --numbers); do \
	    printf 'native-ct: %s %s msan ' "$$(basename $(CLANG))" $$level; \
	    $$out $$path 2>$$out.log || { cat $$out.log; exit 1; }; \
	  done; \
	done; done
	@for kind in $(CT_LEAKS); do \
	  copy=$(NATIVE_OUT)/ct-msan/leak-$$kind; $(PYTHON) $(CT_HARNESS)/leak.py $$kind $$copy; \
	  for program in $$($(PYTHON) $(CT_HARNESS)/leak.py $$kind); do \
	    out=$$copy/$$program; \
	    $(call ct_build,$(CLANG),$(CT_MSAN) -O2,$$copy,$$program,$$out) || exit 1; \
	    for path in $$($(PYTHON) bindings/checks/paths.py --numbers); do \
	      if $$out $$path >$$out.log 2>&1; then \
	        echo "native-ct: leak '$$kind' in $$program was not caught"; exit 1; fi; \
	      grep -q use-of-uninitialized-value $$out.log || { cat $$out.log; exit 1; }; \
	    done; \
	  done; \
	  echo "native-ct: msan caught the planted leak '$$kind'"; \
	done

# Divisions, which memcheck does not see: only where they are known to divide public numbers.
native-ct-divisions: ## constant time: only public numbers are divided
	$(call need,objdump,binutils)
	@for cc in $(GCC) $(CLANG); do for level in -O2 -O3; do \
	  out=$(NATIVE_OUT)/div/$$(basename $$cc)$$level; mkdir -p $$out; \
	  for c in $(NATIVE_C); do \
	    $$cc $(CT_SHIPPED) $$level -c $$c -o $$out/$$(basename $$c .c).o || exit 1; done; \
	  printf 'native-ct: %s %s ' "$$(basename $$cc)" $$level; \
	  $(PYTHON) $(CT_HARNESS)/divisions.py objdump $$out/*.o || exit 1; \
	done; done
	@if command -v aarch64-linux-gnu-gcc >/dev/null; then \
	  out=$(NATIVE_OUT)/div/aarch64; mkdir -p $$out; \
	  for c in $(NATIVE_C); do \
	    aarch64-linux-gnu-gcc $(CT_SHIPPED) -O3 -c $$c -o $$out/$$(basename $$c .c).o || exit 1; done; \
	  printf 'native-ct: aarch64 -O3 '; \
	  $(PYTHON) $(CT_HARNESS)/divisions.py aarch64-linux-gnu-objdump $$out/*.o; \
	fi

# ---- Memory after close ----------------------------------------------------------------------------

native-memscan: ## no secret of the C core in memory after close
	@for path in $(PATHS); do echo "native-memscan: $$path"; \
	  QPHER_NATIVE_CPU=$$path $(PYTHON) bindings/checks/memscan.py || exit 1; \
	done

# ---- Instructions of every operation: the table in docs/performance.md ----------------------------

native-instructions: ## instructions of every operation of the C core
	$(call need,valgrind,valgrind)
	@mkdir -p $(NATIVE_OUT)/instructions
	$(GCC) $(CT_SHIPPED) -O3 -I$(CSRC) bindings/checks/operations.c $(NATIVE_C) \
	  -o $(NATIVE_OUT)/instructions/operations
	$(PYTHON) bindings/checks/instructions.py $(NATIVE_OUT)/instructions/operations \
	  $(NATIVE_OUT)/instructions

# ---- Other processors: the known answers in C, under an emulator -----------------------------------
# aarch64; s390x is 64-bit and big-endian; i686 is 32-bit.

CROSS := aarch64 s390x i686

native-cross: ## the C core's known answers on other processors, under an emulator
	$(call need,aarch64-linux-gnu-gcc,gcc-aarch64-linux-gnu)
	$(call need,s390x-linux-gnu-gcc,gcc-s390x-linux-gnu and libc6-dev-s390x-cross)
	$(call need,i686-linux-gnu-gcc,gcc-i686-linux-gnu)
	$(call need,qemu-aarch64,qemu-user)
	@mkdir -p $(NATIVE_OUT)/cross && $(PYTHON) bindings/checks/answers.py >$(NATIVE_OUT)/cross/answers
	@for cpu in $(CROSS); do for level in -O2 -O3; do \
	  case $$cpu in i686) emulator=qemu-i386;; *) emulator=qemu-$$cpu;; esac; \
	  out=$(NATIVE_OUT)/cross/selftest-$$cpu; \
	  $$cpu-linux-gnu-gcc -std=c11 $$level $(NATIVE_WARN) -static -I$(CSRC) \
	    bindings/checks/selftest.c $(NATIVE_C) -o $$out || exit 1; \
	  $$emulator $$out >$$out.txt && cmp $$out.txt $(NATIVE_OUT)/cross/answers || exit 1; \
	  echo "native-cross: $$cpu $$level: all known answers"; \
	done; done
