# The commands of this project; the README says what each does without make.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/.installed
# An activated environment must not leak into ours.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

.PHONY: demo test check setup clean

demo: $(STAMP)  ## start a target, load it, write the report
	@$(BIN)/perfload demo

test: $(STAMP) setup  ## every test
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(STAMP)  ## lint, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup:
	@scripts/install-test-servers

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing perfload into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[target,dev]'
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info
