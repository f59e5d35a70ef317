# `make demo` and `make test` need Python 3.11 to 3.13 and make; the rest they install in .venv once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Searches wait for their workers a third of the time: three tests at once keep two cores at work.
PYTEST := $(BIN)/python -m pytest --numprocesses=3 --dist=loadfile --no-loadscope-reorder
MUTANTS := $(addprefix nightly-mutants-,evolve rundir core splits training objective)
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --quiet
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --upgrade \
    --custom-compile-command "make locks"
VERSIONS := ray-versions python-versions torch-versions
NIGHTLY := nightly-audit nightly-faults nightly-searches nightly-clusters nightly-properties \
    nightly-benchmarks models $(MUTANTS) $(VERSIONS)

.PHONY: demo test test-fast nightly $(NIGHTLY) lint format docs results locks stale clean

demo: $(INSTALLED)
	$(BIN)/revo-ray search --resume

test: $(INSTALLED)
	$(PYTEST)

# While you work: no Ray, no browser, no processes.
test-fast: $(INSTALLED)
	$(PYTEST) -m "not slow and not nightly"

# What is too long for `make test`, a target for each subject, at most an hour each.
nightly: $(INSTALLED)
	$(MAKE) --keep-going $(NIGHTLY)

nightly-faults: $(INSTALLED)
	$(BIN)/python -m pytest -m nightly tests/faults

nightly-searches: $(INSTALLED)
	$(PYTEST) -m nightly --ignore=tests/faults --ignore=tests/benchmarks --ignore=tests/cluster

# Slurm and `ray up` on machines that are namespaces of this one. Needs root, and Debian's slurm-wlm,
# munge, openssh-server, rsync and iproute2; a test says which of them is missing.
nightly-clusters: $(INSTALLED)
	$(BIN)/python -m pytest -m nightly tests/cluster

# Property tests with 20 times as many examples, other ones each night.
nightly-properties: $(INSTALLED)
	$(PYTEST) --hypothesis-profile=nightly -m hypothesis --timeout=3000

nightly-benchmarks: $(INSTALLED)
	$(BIN)/python -m pytest -m nightly tests/benchmarks

# Every family of timm and torchvision: units, two steps of training, export. A run that was
# interrupted goes on if all is committed.
models: $(INSTALLED)
	$(BIN)/python -m benchmarks.models --out benchmarks/results/models.json

# Is every promise kept with the oldest and the newest release that pyproject.toml allows?
$(VERSIONS): %-versions: $(INSTALLED)
	$(BIN)/python -m benchmarks.versions --vary $*

# Do the tests of a room notice at least 85 % of a sample of small faults?
$(MUTANTS): nightly-mutants-%: $(INSTALLED)
	$(BIN)/python -m tests.tools.mutation $* --jobs 2 --out build/mutants/$*.json

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A warning is an error: a link that leads nowhere, a page that no table of contents has.
docs: $(INSTALLED)
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env docs build/docs
	@echo build/docs/index.html

# docs/results.md and docs/models.md, from benchmarks/results. Neither target needs more than Python and git.
results:
	$(PYTHON) -m benchmarks.page

# Newest releases that pyproject.toml allows, with their hashes: for `make` and CI, for clusters, and
# for building the wheel.
locks: $(INSTALLED)
	$(LOCK) pyproject.toml --extra demo --extra dev --extra cluster --output-file locks/dev.txt
	$(LOCK) pyproject.toml --extra demo --extra cluster --extra aws --output-file locks/cluster.txt
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb")) \
	    ["build-system"]["requires"], sep="\n")' | $(LOCK) - --output-file locks/build.txt

# Known vulnerabilities of the locked releases. One that cannot hurt here is named with its reason in
# docs/security.md and passed with --ignore-vuln.
nightly-audit: $(INSTALLED)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
	    $(addprefix --requirement ,$(wildcard locks/*.txt))

# Results whose code has changed since.
stale:
	@$(PYTHON) -m benchmarks.stale

$(INSTALLED): pyproject.toml locks/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
	    "revo-ray needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d; run make PYTHON=python3.13" \
	    % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-compile --require-hashes -r locks/dev.txt
	$(PIP) install --no-compile --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .import_linter_cache .pytest_cache
