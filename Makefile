# The commands of this project; the README says what each of them does without make.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -q

# An environment that is already activated must not leak into ours.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

.PHONY: demo test test-slow check bench-setup bench-quick clean

demo: $(VENV)/.ready  ## start a target, load it, judge it, write the report
	@$(BIN)/perfload demo

test: $(VENV)/.ready-dev  ## every test
	@scripts/install-test-servers
	$(PYTEST) tests/unit -n 2
	$(PYTEST) tests/load
	$(PYTEST) tests/integration -n 2 -m "not timing and not slow"
	$(PYTEST) tests/integration -m "timing and not slow"

test-slow: $(VENV)/.ready-dev  ## what takes minutes each; docs/cluster.md has the last result
	@scripts/install-test-servers
	$(PYTEST) tests/integration -m slow

check: $(VENV)/.ready-dev  ## lint, types and docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) tests/unit/test_docs.py tests/unit/test_layers.py

bench-setup:  ## the tools that benchmarks/generator compares with
	@scripts/install-bench-tools

bench-quick: $(VENV)/.ready  ## requests per second beside FastHttpUser and wrk, and how true the latencies are
	@scripts/install-bench-tools nginx wrk
	@$(BIN)/python -m benchmarks.generator quick

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: pyproject.toml | $(BIN)/python
	@echo "Installing perfload into $(VENV) ..."
	@$(PIP) install --editable '.[target]'
	@touch $@

$(VENV)/.ready-dev: pyproject.toml | $(BIN)/python
	@echo "Installing perfload and its tools into $(VENV) ..."
	@$(PIP) install --editable '.[target,dev]'
	@touch $@ $(VENV)/.ready
