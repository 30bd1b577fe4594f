# Each target sets itself up: the first one that needs the virtual environment makes it.
#   make check     everything that has to be green      make demo      the main job, in this terminal
#   make fmt       mend what a tool can mend            make lab       the tutorial in JupyterLab
# PYTHON is what makes the environment, VENV is where.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python -m

.DELETE_ON_ERROR:
.PHONY: check format lint types notebooks test kernels fmt execute images docs demo lab package clean

# The tests come last, so that the last line of a good run is theirs.
check: format lint types notebooks test

format: $(VENV)/bin/mpreg-lab
	$(RUN) ruff format --check .

lint: $(VENV)/bin/mpreg-lab
	$(RUN) ruff check .

types: $(VENV)/bin/mpreg-lab
	$(RUN) mypy

notebooks: $(VENV)/bin/mpreg-lab
	$(VENV)/bin/python scripts/notebooks.py --check
	$(RUN) pytest -p tests.kernel_ports -n 2 --dist loadfile --nbval --nbval-sanitize-with notebooks/nbval_sanitize.cfg -q notebooks

test: $(VENV)/bin/mpreg-lab
	$(RUN) pytest -n 2 --dist loadfile

# With every release of ipykernel that is supported: `make kernels`, or `make kernels RELEASES="7.0 7.2"`.
kernels: $(VENV)/bin/mpreg-lab
	$(VENV)/bin/python scripts/kernels.py $(RELEASES)

fmt: $(VENV)/bin/mpreg-lab
	$(RUN) ruff format .
	$(RUN) ruff check --fix .
	$(VENV)/bin/python scripts/notebooks.py --write

# Runs the notebooks and stores their outputs.
execute: $(VENV)/bin/mpreg-lab
	$(VENV)/bin/python scripts/notebooks.py --execute

# Takes the pictures of the README anew.
images: $(VENV)/bin/mpreg-lab
	$(RUN) pytest -q tests/browser/test_first_workflow.py
	for name in workflow results timeline latency step; do cp build/screenshots/first_$$name.png docs/images/; done

# The guide, in build/docs: notebooks, pages and API.
docs: $(VENV)/bin/mpreg-lab
	$(RUN) sphinx -q -W --keep-going docs build/docs

demo: $(VENV)/bin/mpreg-lab
	$(VENV)/bin/mpreg-lab demo

lab: $(VENV)/bin/mpreg-lab
	$(VENV)/bin/mpreg-lab lab

package: $(VENV)/bin/mpreg-lab
	$(RUN) build --outdir dist

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/mpreg-lab: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable ".[dev]"
	touch $@
