# Every target sets up .venv by itself: first time, and when pyproject.toml has changed.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test torture check bench docs fuzz fuzz-growth system

BIN := .venv/bin
STAMP := .venv/.flownb-installed

help:
	@echo "make demo    run notebooks/quickstart.ipynb in a real kernel and print its log"
	@echo "make check   format, lint, types, floors, spelling"
	@echo "make test    check, then every test"
	@echo "make torture  every fault of the disk, 500 kills and 20,000 schedules, for about an hour"
	@echo "make bench   measure chains and fan-outs against the limit"
	@echo "make fuzz    look for texts that break the parser, for five minutes"
	@echo "make fuzz-growth  look for texts whose time grows faster than they do"
	@echo "make docs    API pages from the docstrings, in dist/docs"

$(STAMP): pyproject.toml .ci/system
	.ci/system venv
	python="$$(.ci/system python)"; test -x $(BIN)/python || "$$python" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python notebooks/execute.py notebooks/quickstart.ipynb

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports --no-logo
	$(BIN)/codespell

test: check
	.ci/system chromium
	.ci/system postgresql
	$(BIN)/python -m pytest

torture: $(STAMP)
	$(BIN)/python -m pytest --torture tests/crash/test_faults.py tests/crash/test_kill.py tests/crash/test_schedules.py

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	PYTHONPATH=. $(BIN)/python tests/fuzz_parse.py dist/fuzz -max_total_time=$${SECONDS_TO_FUZZ:-300} -timeout=20 -max_len=4000

fuzz-growth: $(STAMP)
	PYTHONPATH=. $(BIN)/python tests/fuzz_growth.py $${SECONDS_TO_FUZZ:-300}

docs: $(STAMP)
	mkdir -p dist/docs
	cd dist/docs && for module in $$(cd ../.. && git ls-files 'flownb/*.py' | grep -v __main__ | sed 's/\.py$$//; s,/__init__$$,,; s,/,.,g'); do \
	  PYTHONPATH=../.. ../../$(BIN)/python -m pydoc -w "$$module"; done
