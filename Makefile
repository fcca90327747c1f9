# Everything runs in a virtual environment that the first target makes.
# CI runs these targets and nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
FILES  ?=

.PHONY: demo test lint types unit crash bench clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo [FILES=\"a b\"]  the main job on real files"
	@echo "make test               linters, types, tests"
	@echo "make crash              200 kills in the middle of work (minutes)"
	@echo "make bench              providers side by side, and the cost of the pipeline"
	@echo "make clean              remove what the targets made"

demo: $(READY)
	$(BIN)/python -m qpher_core.cli.demo $(FILES)

test: lint types unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/python -m pytest -q -m "not long" tests

crash: $(READY)
	QPHER_CRASH_KILLS=200 $(BIN)/python -m pytest -q tests/crash

bench: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m pytest -q benchmarks --benchmark-columns=mean,median,stddev,ops

$(READY): pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[all,test]'
	touch $@

clean:
	rm -rf $(VENV) build dist demo-output *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
