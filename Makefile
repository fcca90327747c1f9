# Everything runs in a virtual environment that the first target makes.
# CI runs these targets and nothing else.

PYTHON3 ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
FILES  ?=

# The files of the suite spread over processes, in their order: the longest are not the last.
SPREAD ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help

# Each target says what it is for, behind ##: here and in the makefiles that this one includes.
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | \
	  awk -F '\t' '{printf "make %-22s %s\n", $$1, $$2}'

demo: $(READY) ## the main job on real files: FILES="a b", or made ones
	$(BIN)/qpher-core demo $(FILES)

test: lint types unit ## linters, types, tests

lint: $(READY) ## linters and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## type checks
	$(BIN)/mypy
	$(BIN)/mypy tests/typed

unit: $(READY) postgresql redis chromium ## tests, but for those that take minutes
	$(BIN)/python -m pytest -q -m "not long" $(SPREAD) tests

crash: $(READY) postgresql ## 200 kills in the middle of work (minutes)
	QPHER_CRASH_KILLS=200 $(BIN)/python -m pytest -q tests/crash

differential: $(READY) ## providers against each other, 100,000 cases (minutes)
	QPHER_DIFFERENTIAL_CASES=100000 $(BIN)/python -m pytest -q tests/conformance/test_differential.py

accumulated: $(READY) ## the C core's long digests: a million cases (minutes)
	$(BIN)/python -m pytest -q -m long tests/native

audit-long: $(READY) ## a million clean entries, 300 kills, growth to ten million entries
	$(BIN)/python -m pytest -q -m long tests/attack
	QPHER_CRASH_KILLS=300 $(BIN)/python -m pytest -q tests/crash/test_kill.py
	$(BIN)/python -m benchmarks.audit_growth

bench-audit: $(READY) ## goals of the pipeline and the audit log, each beside its measure
	$(BIN)/python -m benchmarks.audit_goals

bench-growth: $(READY) ## key operations at 10, 10,000 and 1,000,000 key versions per store
	$(BIN)/python -m benchmarks.key_growth

schemathesis: $(READY) ## requests that the description of the API allows and forbids (minutes)
	QPHER_SCHEMATHESIS_EXAMPLES=150 $(BIN)/python -m pytest -q tests/http/test_schemathesis.py

soak: $(READY) ## 200,000 requests while things fail and change; SOAK=--together
	$(BIN)/python -m benchmarks.load.soak $(SOAK)

contract-matrix: $(READY) postgresql ## the contract suite on every store and pair, with every provider
	$(BIN)/python -m pytest -q -p tests.contract.matrix tests/contract

crash-all: $(READY) postgresql ## 500 kills spread over all stores and pairs of them
	QPHER_CRASH_KILLS=500 $(BIN)/python -m pytest -q tests/crash

crash-migration: $(READY) ## 100 kills of migrations of a column, and 100 of a directory
	QPHER_CRASH_KILLS=200 $(BIN)/python -m pytest -q --timeout 1800 tests/crash/test_migration.py

rotation-load: $(READY) postgresql ## keys rotate 100 times on every store while threads use them
	QPHER_ROTATIONS=100 $(BIN)/python -m pytest -q tests/contract/test_rotation_load.py

# Killed while files are encrypted, decrypted and change their headers: 100 times each.
crash-files: $(READY) ## 200 kills while files are encrypted and change their headers
	QPHER_CRASH_KILLS=200 $(BIN)/python -m pytest -q --timeout 1800 tests/crash/test_files.py

FUZZ_FOLDER ?= .fuzz-files

fuzz-files: $(READY) ## the parsers of containers, FUZZ_SECONDS of it
	$(BIN)/pip install --quiet --disable-pip-version-check atheris==3.0.0
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS) $(FUZZ_FOLDER)

bench-files: $(READY) ## encrypted files beside AES-256-GCM alone and beside age
	$(BIN)/python -m benchmarks.files

bench-migration: $(READY) ## a million values move to another key, beside the store's own update
	$(BIN)/python -m benchmarks.migration --kind fields
	$(BIN)/python -m benchmarks.migration --kind messages

openapi: $(READY) ## write docs/openapi.json anew
	$(BIN)/python -c 'import sys; from qpher_core.asgi.openapi import document_bytes; \
	  sys.stdout.buffer.write(document_bytes())' > docs/openapi.json

transcripts: $(READY) ## write the transcripts of docs/cli.md anew
	$(BIN)/python -m tests.cli.transcripts

sdk-transcripts: $(READY) ## write the transcripts of docs/sdk.md anew
	$(BIN)/python -m tests.http.sdk

bench: $(READY) ## providers side by side, and the cost of the pipeline (minutes); BENCH=--quick
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	test -d .venv/pqclean || { $(PYTHON3) -m venv .venv/pqclean && \
	  .venv/pqclean/bin/pip install --quiet --disable-pip-version-check pqcrypto==0.4.0; }
	$(BIN)/python -m benchmarks.report --pqclean .venv/pqclean/bin/python $(BENCH)
	$(if $(BENCH),,$(BIN)/python -m pytest -q benchmarks --benchmark-columns=mean,median,stddev,ops \
	  --benchmark-max-time=0.2 --benchmark-min-rounds=3)

# The C core needs a compiler and Python's headers. Where they are missing and we may install
# them, we do; where not, the library works without it, on OpenSSL's primitives.
HEADERS = $(PYTHON3) -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")'

$(READY): pyproject.toml setup.py $(wildcard bindings/csrc/* bindings/build_native.py)
	@$(HEADERS) 2>/dev/null || { test "$$(id -u)" = 0 && \
	  apt-get update -qq && apt-get install -y -qq python3-dev >/dev/null; } || \
	  echo "Python.h is missing (Debian: python3-dev): installing without the C core"
	@command -v softhsm2-util >/dev/null || { test "$$(id -u)" = 0 && \
	  apt-get update -qq && apt-get install -y -qq softhsm2 >/dev/null; } || \
	  echo "softhsm2-util is missing (Debian: softhsm2): the tests of PKCS#11 will be skipped"
	$(PYTHON3) -m venv $(VENV)
	$(HEADERS) 2>/dev/null || export QPHER_NO_NATIVE=1; \
	  $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[all,test]'
	touch $@

# The tests of the PostgreSQL backend start a server of their own. Where none is installed and we
# may not, or cannot, install it, they are skipped and say so.
SERVER = ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null
APT = apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=30

postgresql: ## install PostgreSQL for its tests, where it is missing
	@$(SERVER) || { test "$$(id -u)" = 0 && $(APT) update && \
	  $(APT) install -y --no-install-recommends postgresql-15 >/dev/null; } || \
	  echo "PostgreSQL is missing (Debian: postgresql-15): its tests are skipped"

# The tests of shared rate limits start a Redis of their own. The package would start one too.
redis: ## install Redis for its tests, where it is missing
	@command -v redis-server >/dev/null || { test "$$(id -u)" = 0 && $(APT) update && \
	  $(APT) install -y --no-install-recommends redis-server >/dev/null; } || \
	  echo "redis-server is missing (Debian: redis-server): its tests are skipped"

# The tests of the report's page and of the API's page draw them in a browser.
chromium: ## install a browser for the tests of pages, where it is missing
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && $(APT) update && \
	  $(APT) install -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || \
	  echo "chromium is missing (Debian: chromium): the tests that draw pages are skipped"

include bindings/native.mk

# None of them is a file.
.PHONY: $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(MAKEFILE_LIST))

clean: ## remove what the targets made
	rm -rf $(VENV) build dist demo-output *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
