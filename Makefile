# `make demo` and `make test` do all the set-up on a machine with nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test

demo: .venv/installed
	$(BIN)/python src/train.py

test: .venv/installed-test
	$(BIN)/ruff format --check src tools tests
	$(BIN)/ruff check src tools tests
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt pyproject.toml setup.py | .venv/bin/python
	$(BIN)/python -m pip install --quiet -r requirements.txt -e .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet -r requirements.txt -e '.[test,launchers,dashboards,detectors]'
	touch $@
