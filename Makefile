# `make help` lists the targets. Everything is installed into this folder: .venv, .venv-training, .cache.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
TRAINING := .venv-training
MUTANTS := .venv-mutants
# Go binaries for tests/cluster, and other things that are built once.
CACHE := .cache
# Tests that share a server form a group, which one worker runs. The groups often wait; one worker has the other tests.
EVERYTHING := -n 5 --dist loadgroup -m "not e2e" --hypothesis-profile thorough
# If it is set, each worker rewrites the asserts of all tests again.
unexport PYTHONDONTWRITEBYTECODE
OLD_CLIENTS := $(CACHE)/mlflow-2-9/.installed $(CACHE)/mlflow-2-22/.installed

.PHONY: help install check test test-pythons coverage golden mutants lint e2e bench format lock demo clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(BIN)/.installed $(TRAINING)/.installed ## Create .venv (the webhook and its tools) and .venv-training (MLflow and KFP)

$(BIN)/.installed: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(TRAINING)/.installed: requirements/training.txt
	$(PYTHON) -m venv $(TRAINING)
	$(TRAINING)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/training.txt
	@touch $@

# No editable install: mutmut works on a copy of the sources, and the tests have to import that one.
$(MUTANTS)/.installed: requirements/dev.txt requirements/mutants.txt
	$(PYTHON) -m venv $(MUTANTS)
	$(MUTANTS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt -r requirements/mutants.txt
	@touch $@

# Older MLflow clients, for the tests of the client plugin only.
$(OLD_CLIENTS): $(CACHE)/mlflow-%/.installed: requirements/mlflow-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

check: $(BIN)/.installed lint ## Lint, types, import rules and unit tests (about a minute)
	$(BIN)/pytest -q -n 4 --dist worksteal -m "not mlflow and not cluster and not e2e"

lint: $(BIN)/.installed ## Lint, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: install $(OLD_CLIENTS) lint ## All tests except e2e (the control plane needs Go or KUBEBUILDER_ASSETS)
	$(BIN)/pytest -q $(EVERYTHING)
	@# Afterwards, so that the two do not compete for the processors.
	$(BIN)/python -m tests.pythons

test-pythons: $(BIN)/.installed ## Unit tests on the oldest and the newest supported Python that this machine has
	$(BIN)/python -m tests.pythons

coverage: install $(OLD_CLIENTS) ## All tests except e2e, with coverage, also of the processes that tests start (takes about twice as long)
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_FILE=$(CURDIR)/.coverage \
	$(BIN)/pytest -q $(EVERYTHING) --cov --cov-report=term

golden: $(BIN)/.installed ## Write the golden answers again (tests/data/golden); read the diff before you commit it
	$(BIN)/python -m tests.support.golden

mutants: $(MUTANTS)/.installed ## List small changes of the code that no test notices; MUTANTS_ARGS=--all tries all, "--all core" one area
	$(MUTANTS)/bin/python -m tests.mutants $(MUTANTS_ARGS)

e2e: install ## Everything in the cluster of KUBECONFIG, with real pods; E2E_BUILD='… {image} {folder}' loads an image
	$(BIN)/pytest -m e2e -s tests/e2e

bench: $(BIN)/.installed ## Measure the cost of a review, as ratios (docs/performance.md); BENCH="--only decision" measures one part
	$(BIN)/python -m benchmarks $(BENCH)
	$(BIN)/python -m benchmarks.report

format: $(BIN)/.installed ## Format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(BIN)/.installed ## Resolve the pinned requirements again, for all supported Python versions
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header -o requirements/runtime.txt
	$(BIN)/uv pip compile pyproject.toml --group dev --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header -c requirements/runtime.txt -o requirements/dev.txt
	for group in mlflow-2-9 mlflow-2-22; do \
	  $(BIN)/uv pip compile --group $$group --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header -o requirements/$$group.txt || exit; \
	done
	$(BIN)/uv pip compile --group plugin --quiet --universal --python-version 3.8 --generate-hashes --no-strip-extras --no-header -o requirements/plugin.txt
	$(BIN)/uv pip compile --group mutants --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header -c requirements/dev.txt -o requirements/mutants.txt
	$(BIN)/uv pip compile --group training --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header -o requirements/training.txt

demo: install ## Run an unmodified pipeline with a real MLflow server, without a cluster
	$(BIN)/python -m demo $(DEMO)

clean: ## Delete everything that was installed and built here
	rm -rf .venv $(TRAINING) $(MUTANTS) .mutants .venv-3.* $(CACHE) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
