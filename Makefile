# Everything is set up by the first call; a second one installs nothing.
PYTHON ?= python3
BIN := .venv/bin
# What Python has compiled once is kept, also where the surroundings say otherwise: each command of a test would compile
# torch and Lightning again, ten seconds each time.
export PYTHONDONTWRITEBYTECODE :=
# Without --no-compile pip would compile every file of torch and the rest, a minute and more, of which few are imported.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: setup demo test tests test-whole lint docs release bench bench-check chaos clusters audit clean

setup: .venv/.run

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/.run: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e .
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e ".[dev,docs]"
	@touch $@ .venv/.run

# Three seeds of three methods on real digits. HLOP takes its ranks from GPM's run of the same seed.
demo: .venv/.run
	$(BIN)/orthotrace-train --multirun experiment=digits seed=0,1,2 method=finetune
	$(BIN)/orthotrace-train --multirun experiment=digits seed=0,1,2 method=gpm 'method.energy=[.97,.99,.99]'
	$(BIN)/orthotrace-train --multirun experiment=digits seed=0,1,2 method=hlop method.rows_from=runs/digits
	$(BIN)/orthotrace-analyze runs=runs/digits

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache --no-logo

# Beside each other: pyright takes one core for most of a minute, and some tests wait for other processes.
test: .venv/.dev
	$(MAKE) --jobs=2 lint tests

tests: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

# Every combination of method, stream and scenario instead of every pair, all of the real images, more seeds, the commands
# of every page of the docs, and every figure twice in all formats.
test-whole: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --whole

# The documentation, into site/; a warning is an error. The tests build it too.
docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html"

# What would be uploaded: sdist, and the wheel built from it, checked as the package index does.
release: .venv/.dev
	$(INSTALL) -e ".[release]"
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

bench: .venv/.run
	$(BIN)/python scripts/benchmark.py overhead --json

# Every benchmark again, beside its committed ratios: half an hour, on a machine that does nothing else.
bench-check: .venv/.dev
	$(BIN)/python scripts/bench_check.py

# Kills, signals, full disks, damaged files, bad configurations, dead servers: half an hour; docs/results/trust.md.
chaos: .venv/.dev
	$(BIN)/python scripts/chaos.py

# Real launchers, Slurm among them, against undisturbed runs: half an hour. Slurm needs Debian's slurm-wlm and munge; the
# part of Ray needs RAY=PYTHON, that of an environment with orthotrace[ray].
clusters: .venv/.dev
	$(BIN)/python scripts/clusters.py $(if $(RAY),--ray $(RAY))

# Known weaknesses of the pinned packages, from the package index.
audit: .venv/.dev
	$(INSTALL) -e ".[release]"
	$(BIN)/python -m pip_audit -r constraints.txt --no-deps --disable-pip

clean:
	rm -rf .venv site dist .pytest_cache .ruff_cache
