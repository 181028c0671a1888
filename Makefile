# Everything here works on a fresh clone: what a target needs is installed into $(VENV) first.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# Recipes of `make bench SELECT="bus journal"` and the like.
SELECT ?=

.PHONY: run test check bench docs soak clean install

install: $(VENV)/.installed

$(VENV)/.created:
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --upgrade "pip>=25.1"
	touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.created
	$(PY) -m pip install -q -e ".[all]" --group dev
	touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(PY) -m pip install -q --group bench
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(PY) -m pip install -q --group docs
	touch $@

run: $(VENV)/.installed
	$(VENV)/bin/candlewick run

test: $(VENV)/.installed
	$(PY) -m pytest

check: $(VENV)/.installed
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.bench
	$(PY) -m benchmarks $(SELECT)
