# `make demo` and `make test` need Python 3.11 or 3.12 and make; the rest they install in .venv once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Tests of searches that are waited for, and killed: a third of two cores is idle.
SEARCHES := tests/end_to_end tests/faults
SYNC := $(addprefix --,$(filter output-sync,$(.FEATURES)))

.PHONY: demo test test-parts test-searches lint format docs clean

demo: $(INSTALLED)
	$(BIN)/revo-ray search --resume

test: $(INSTALLED)
	$(MAKE) --jobs=2 $(SYNC) test-parts test-searches

test-parts: $(INSTALLED)
	$(BIN)/python -m pytest $(addprefix --ignore=,$(SEARCHES))

test-searches: $(INSTALLED)
	$(BIN)/python -m pytest $(SEARCHES)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)
	$(BIN)/python docs/api.py build/docs

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 13) else \
	    "revo-ray needs Python 3.11 or 3.12; name one with make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[demo,dev,cluster]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .import_linter_cache .pytest_cache
