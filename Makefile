# make demo   a first run on the sample data          make test   the whole test suite
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-install lint clean

.venv/installed: pyproject.toml constraints.txt
	@echo "installing into .venv (a minute or two)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: .venv/installed
	@PREFECT_PROFILE=ephemeral $(BIN)/dqpipe run sample_data/pipeline.yaml --flow --force
	@$(BIN)/python sample_data/score.py out

test: .venv/installed
	@$(BIN)/python -m pytest -q

# The built wheel in an empty environment, everything installed by pip, without the constraints.
test-install: .venv/installed
	@$(BIN)/python -m pytest -q tests/install --full-install

lint: .venv/installed
	@$(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

clean:
	rm -rf .venv out dist build
