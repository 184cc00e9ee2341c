# Two commands on a fresh machine: make demo, make test. Needs Python 3.11 and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: demo test test-skipped test-slow check bench servers clean

demo: $(VENV)/.run
	$(BIN)/cloudfree demo --out demo --config pipelines/demo.toml

# a process for each processor, one thread in each; the tests of a file share its fixtures
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist loadfile

test: check
	$(PYTEST)

# what make test skipped, once what it lacked has been installed
test-skipped: $(VENV)/.dev
	$(PYTEST) --last-skipped

test-slow: $(VENV)/.dev
	$(PYTEST) -m slow

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python tests/bench/bench_walk.py

# servers for the tests; their packages would quarrel with the product's and each other's
servers: .venv-stac/.ready .venv-s3/.ready

.venv-%/.ready: tests/servers/%-requirements.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# torch first and by its pin: without it the newest build with its CUDA packages is fetched
$(VENV)/.run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .venv-stac .venv-s3 .azurite demo dist
