# `make search` and `make test` are the only commands that a fresh machine needs: both install first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
SPACE  ?= search_spaces/default.yaml
ARGS   ?=

BIN := .venv/bin

.PHONY: help install search experiments test test-all coverage lint bench chaos docs clean

help:              ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*##/\t/' | expand -t 14

install: .venv/installed  ## make .venv with the pinned versions

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e ".[tune,defaults,dev]"
	touch $@

search: install    ## search SPACE for the best model: make search ARGS="--trials 40"
	$(BIN)/python -m tuning.search --space $(SPACE) $(ARGS)

experiments: install  ## train every model on every data set: make experiments BEIR=FOLDER
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gpe-eval==0.2.2
	$(BIN)/python -m experiments $(if $(BEIR),--beir $(BEIR)) $(ARGS)

test: install      ## run the tests in two processes: make test ARGS="-m 'not ray' -x"
	$(BIN)/python -m pytest --numprocesses 2 $(ARGS)

test-all: install  ## run the extended tests too, which take about an hour
	$(BIN)/python -m pytest --numprocesses 2 --extended $(ARGS)

coverage: install  ## run the tests without Ray and print the branch coverage
	$(BIN)/python -m pytest --numprocesses 2 -m "not ray" --cov $(ARGS)

lint: install      ## check with ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install      ## build the documentation as a site, in build/site
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/python docs/generate_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: install     ## the benchmarks, each a table side by side: make bench ARGS=--json
	for name in step engines epoch rerank memory million million_index search scheduler searcher; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.$$name $(ARGS) || exit 1; \
	done

chaos: install     ## kill trainings, searches, workers, nodes and storages; fail if anything is lost
	for name in training driver workers faults ending many; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos.$$name $(ARGS) || exit 1; \
	done
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(ARGS)

clean:             ## remove the installation and the built files
	rm -rf .venv build site *.egg-info
