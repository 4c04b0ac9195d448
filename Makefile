# Everything here needs Python >= 3.11 with venv, and make. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TABLES := experiments/results
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
# One thread a process, and threads that sleep while they wait.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup demo figures test check torture lowest chains bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/ready ## make .venv and install everything into it

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON); install Python 3.11 or newer, or: make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old; Python 3.11 or newer is needed: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv module (on Debian: apt install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) '.[train,readout,wandb,dashboard,dev]'
	@touch $@

# Enough for figures: no torch, no wandb, no development tools. What `setup` has installed will do, too.
$(VENV)/figures: pyproject.toml constraints.txt | $(VENV)/bin/python
	test -e $(VENV)/ready || $(INSTALL) .
	@touch $@

demo: setup ## draw the demo pictures, train the demo study, draw Figure 2
	$(BIN)/transferability pack demo data/demo
	$(BIN)/transferability run experiments/demo.py
	$(BIN)/python plots/figure2.py runs/demo/results.csv --out figures/demo

figures: $(VENV)/figures ## draw the paper's figures and those of docs/regimes.md from published and committed tables; installs no torch
	$(BIN)/python plots/all.py
	$(BIN)/python plots/regimes.py $(TABLES)/regimes.csv $(TABLES)/regimes-flowers17.csv
	$(BIN)/python plots/backbones.py $(TABLES)/better_bases-*.csv --curves $(TABLES)/better_bases_curves.csv
	$(BIN)/python plots/rules.py $(TABLES)/rules_flowers17-5.csv

check: setup ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

test: check ## run check, then the tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

torture: setup ## try every fault on purpose, for half an hour; prints what became of each
	$(BIN)/python -m pytest -m torture
	PYTHONPATH=tests/helpers $(BIN)/python tests/torture.py

lowest: ## try the lowest versions that pyproject.toml allows, in .lowest: 6 GB, six minutes
	$(PYTHON) tools/lower_bounds.py

chains: setup ## cut every network of torchvision into layers, and compare them with it, two hours
	$(BIN)/python tools/chains.py

bench: setup ## measure speed side by side with other ways, two hours; data/demo and data/tiny-imagenet first
	$(BIN)/python benchmarks/benchmark.py

clean: ## remove the environment and caches (data/, runs/ and figures/ stay)
	rm -rf $(VENV) .lowest .pytest_cache .mypy_cache .ruff_cache *.egg-info
