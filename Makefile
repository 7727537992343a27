# make run: install and run the main job on the sample.   make test: install and pass the quick tests.   make test-all: all of them.
# make coverage: the quick tests, and which modules they run less than 40 % of.
PYTHON ?= python3
BIN = .venv/bin
OUT ?= out
WORKERS ?= 2
# A process of tests that dies ends the run: others that took its place would be waited for without end.
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.PHONY: run test test-all coverage lint format options clean

run: .venv/installed
	$(BIN)/terraseam segment examples/coast/sample.tif --model coast --output $(OUT)

test: .venv/installed-dev
	$(BIN)/python -m pytest $(PARALLEL) -m 'not slow'

test-all: .venv/installed-dev
	$(BIN)/python -m pytest $(PARALLEL)

# What numba compiles, and what worker processes run until they are ended, cannot be counted.
coverage: .venv/installed-dev
	rm -rf build/coverage && mkdir -p build/coverage
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage run -m pytest $(PARALLEL) -m 'not slow'
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage combine -q
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage json -q -o build/coverage/lines.json
	$(BIN)/python tests/project/coverage_floor.py build/coverage/lines.json

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

options: .venv/installed
	$(BIN)/python -m terraseam.pipeline.deploy.option_tables > docs/options.md
	$(BIN)/python -m terraseam.pipeline.deploy.flex_template > deploy/metadata.json

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Terraseam needs Python 3.11 or newer; name one: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.py
	$(BIN)/pip install --quiet --editable '.[openvino]'
	$(BIN)/python -m terraseam.pipeline.deploy.compile_ahead --default
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist out *.egg-info
