# make install             install into .venv
# make demo [DATA=FOLDER]   install, then engrave or convert, analyse, train and score
# make test                 install, then run the tests
# make fuzz [FUZZ_SECONDS=60]  install, then read damaged files, for so long per reader
# make fuzz-guided [FUZZ_SECONDS=600]  install atheris too, and prefer files that reach new code
# make test-oldest          run the training tests with the oldest supported Ultralytics
# make npu                  install the tools for `omr export --format tflite` and `omr npu-report`
# make test-npu             install these tools, then run the tests that need them
# make weights              make the model that comes with omr, in WEIGHTS (hours on two cores)
# make wheelhouse [DEVICE=cpu] [WHEELHOUSE=wheelhouse]
#                           download all packages for an installation without a network
# make test-offline         install from a wheelhouse without a network, and run the demo (3 GB)
# make check                check style, types, imports and the contents of the wheel
# Everything is installed into .venv; after the first run nothing is downloaded.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
OUT ?= demo
WEIGHTS ?= weights
FUZZ_SECONDS ?= 60
DEVICE ?= cpu
WHEELHOUSE ?= wheelhouse

# Each process runs whole files, because many tests of a file share fixtures.
TOGETHER := -n logical --maxprocesses 4 --dist loadfile

OLDEST := $(shell sed -n 's/.*"ultralytics>=\([0-9.]*\)".*/\1/p' pyproject.toml)

# Tests of modules that do not call Ultralytics, or that other tests run with it.
OWN := grouping \
  assigners/test_predictions.py assigners/test_simota.py assigners/test_static.py \
  density/test_batches.py density/test_fitting_batch.py density/test_pipeline_counts.py density/test_report.py \
  engine/test_host_syncs.py losses/test_without_waiting.py models/test_hostile_weights.py \
  memory/test_batch_search.py memory/test_cuda.py memory/test_gpus.py memory/test_host.py memory/test_timeline.py \
  predict/test_detections.py predict/test_image_batches.py runtime/test_devices.py

.PHONY: install demo test fuzz fuzz-guided test-oldest npu test-npu check weights wheelhouse test-offline bench clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "omr needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

install: $(VENV)/installed

demo: $(VENV)/installed
	$(BIN)/omr demo $(if $(DATA),--data "$(DATA)") --out "$(OUT)" --force

test: $(VENV)/installed
	$(BIN)/pytest $(TOGETHER)

fuzz: $(VENV)/installed
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/pytest $(TOGETHER:loadfile=load) tests/fuzz

fuzz-guided: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[fuzz]"
	$(BIN)/python -m tests.fuzz.guided --seconds $(FUZZ_SECONDS)

$(VENV)/ultralytics-$(OLDEST): $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ ultralytics==$(OLDEST)

test-oldest: $(VENV)/ultralytics-$(OLDEST)
	PYTHONPATH=$< $(BIN)/python -c 'import ultralytics; assert ultralytics.__version__ == "$(OLDEST)"'
	PYTHONPATH=$< $(BIN)/pytest $(TOGETHER) tests/training $(OWN:%=--ignore=tests/training/%)

# The versions need an older torch than omr by their metadata, but work with the torch of omr.
$(VENV)/npu-tools/installed: training/export/npu-tools.lock $(VENV)/installed
	rm -rf $(@D)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $(@D) -r $<
	touch $@

npu: $(VENV)/npu-tools/installed

test-npu: npu
	$(BIN)/pytest -m npu tests/omr/test_npu.py

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	rm -rf dist && $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	$(BIN)/check-wheel-contents dist

weights: $(VENV)/installed
	$(BIN)/python -m recipes.run recipes/harmony-tiny.yaml "$(WEIGHTS)"

wheelhouse: $(VENV)/installed
	$(BIN)/python -m offline.wheelhouse "$(WHEELHOUSE)" --device $(DEVICE)

test-offline: $(VENV)/installed
	WHEELHOUSE_DEVICE=$(DEVICE) $(BIN)/pytest -m offline tests/offline

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.convert

clean:
	rm -rf $(VENV) dist build
