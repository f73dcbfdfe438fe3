# Two commands matter: `make quickstart` and `make test`. Everything else is for those who carry on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Point PIP_FLAGS at a wheel folder or index of your own, e.g. PIP_FLAGS="--find-links /mnt/wheels --no-index".
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt $(PIP_FLAGS)
# The optional data folder of the `real` tests; absent, they skip and say so.
TUNEWARD_TEST_DATA ?= $(abspath $(wildcard ../shared/data))
export TUNEWARD_TEST_DATA

.DEFAULT_GOAL := help
.PHONY: help quickstart test unit journey real lint format types imports bench bench-gpu clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

quickstart: $(VENV)/installed ## install, then walk the whole road on the example (about ten minutes)
	@$(BIN)/tuneward quickstart

test: $(VENV)/installed-test lint types imports ## lint, types, import contracts and every test
	@$(BIN)/python -m pytest

unit: $(VENV)/installed-test ## the tests that take seconds
	@$(BIN)/python -m pytest -m "not journey and not real and not gpu"

journey: $(VENV)/installed-test ## the whole road with a tiny random model
	@$(BIN)/python -m pytest -m journey

real: $(VENV)/installed-test ## the road on a real small model
	@$(BIN)/python -m pytest -m real

lint: $(VENV)/installed-test ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/installed-test ## mypy, strict on our code
	@$(BIN)/mypy

imports: $(VENV)/installed-test ## the floors of the house
	@$(BIN)/lint-imports

format: $(VENV)/installed-test ## let ruff mend and format
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(VENV)/installed-test ## the benchmarks that need no GPU, against TRL and others; one table at the end
	@$(BIN)/python -m benchmarks $(BENCH)

bench-gpu: $(VENV)/installed-test ## the same for one CUDA device: its tests, 8B LoRA, 7B and 70B QLoRA under a cap
	@$(BIN)/python -m pytest -m gpu && $(BIN)/python -m benchmarks.gpu.lora && $(BIN)/python -m benchmarks.gpu.qlora

clean: ## remove the virtual environment and the quickstart folder
	rm -rf $(VENV) quickstart

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Tuneward needs Python 3.11 or newer; name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml constraints.txt
	@echo "installing pinned dependencies into $(VENV) (once)…" >&2
	@$(PIP) -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@$(PIP) -e '.[test]'
	@touch $@
