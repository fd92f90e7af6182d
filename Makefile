# make demo: the main job on an embedded cohort.  make test: all tests.  Both set everything up first.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test check fuzz bench fire lock clean
.DELETE_ON_ERROR:

demo: .venv/installed      ## DICOM to report on the phantom cohort
	cohortseg demo

test: .venv/installed check      ## checks and all tests
	python -m pytest

check: .venv/installed      ## formatting, types, lint, layers, generated files
	ruff check . && ruff format --check .
	mypy
	snakefmt --check --compact-diff Snakefile workflow
	python tests/lint_workflow.py

fuzz: .venv/installed      ## damaged files and series, the long run (ten minutes)
	python tests/fuzz/long.py --files 2000 --series 200 --others 200

bench: .venv/installed      ## benchmarks, side by side with peers
	for script in benchmarks/*.py; do python $$script || exit 1; done

fire: .venv/installed      ## 200 faults at random, each mended by the same command: hours; writes the table of docs/cluster.md
	python tests/fire.py

lock: .venv/installed      ## write the lock from what is installed
	pip freeze --exclude-editable | grep -v '^#' | sed 's/+cpu//' > envs/requirements.lock

clean:      ## remove the environment and everything the demo made
	rm -rf .venv data/phantom results/demo .snakemake

.venv/installed: envs/requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("cohortseg needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement envs/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@
