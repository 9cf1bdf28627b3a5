# make demo [DATA=folder]   install, then convert, analyse, train and score
# make test                 install, then run the tests
# make check                style, types, layers, contents of the wheel
# Everything lands in .venv; after the first run nothing is fetched again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
OUT ?= demo

.PHONY: demo test check bench clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "omr needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/omr demo $(if $(DATA),--data "$(DATA)") --out "$(OUT)" --force

test: $(VENV)/installed
	$(BIN)/pytest

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	rm -rf dist && $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	$(BIN)/check-wheel-contents dist

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.convert

clean:
	rm -rf $(VENV) dist build
