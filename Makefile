# Every target works on a fresh clone: what it needs is installed into $(VENV) first.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# make bench AREAS="bus audit" measures those only
AREAS ?=
# make test TESTS=tests/engine runs those only
TESTS ?= tests
# processes that share the tests; two more than two processors, as many tests wait for processes and clocks
WORKERS ?= 4

.PHONY: install run test check bench docs soak clean
.PHONY: check-format check-lint check-types check-rooms check-realtime check-metrics

install: $(VENV)/.installed

$(VENV)/.created: tools/create_venv.sh
	PYTHON=$(PYTHON) tools/create_venv.sh $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
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
	$(VENV)/bin/candlewick run --speed 20000

test: $(VENV)/.installed
	$(PY) -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

soak: $(VENV)/.installed
	$(PY) -m pytest -m slow --timeout 14400 $(TESTS)

# `make check -k` goes on after a check that fails
check: check-format check-lint check-types check-rooms check-realtime check-metrics

check-format: $(VENV)/.installed
	$(VENV)/bin/ruff format --check .

check-lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .

check-types: $(VENV)/.installed
	$(VENV)/bin/mypy

check-rooms: $(VENV)/.installed
	$(VENV)/bin/lint-imports

check-realtime: $(VENV)/.installed
	$(PY) -m tools.realtime_check src

check-metrics: $(VENV)/.installed
	tools/check_metrics.sh $(PY)

bench: $(VENV)/.bench
	$(PY) -m benchmarks $(AREAS)

docs: $(VENV)/.docs
	$(PY) -m tools.generated_pages
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

clean:
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
