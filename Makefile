# `make demo`, `make test` and `make docs` do everything from a fresh clone, on a bare Debian or
# Ubuntu too.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PARITY := .venv-parity
PINS := pyproject.toml constraints.txt
ARGS ?=

.PHONY: demo test lint docs parity clean system

demo: $(VENV)/installed
	$(BIN)/napari-sam2 demo $(ARGS)

# a process for each core
test: $(VENV)/installed
	$(BIN)/python -m pytest -n logical --maxprocesses 4 $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, into site/; any warning is an error. The variable silences a notice of the theme about
# a later MkDocs, which constraints.txt keeps out.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

# the same answers as the published packages, of which one wants another torch; no Qt, hence no
# pytest-qt. Without ARGS it writes the table of differences.
parity: $(PARITY)/installed
	$(PARITY)/bin/python -m pytest -p no:pytest-qt tests/parity -m parity \
		$(or $(ARGS),--parity-table docs/parity.md)

clean:
	rm -rf $(VENV) $(PARITY) build dist site demo_output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

system:
	@PYTHON="$(PYTHON)" .ci/system-libraries

$(VENV)/installed: $(PINS) | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e ".[all,test]"
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install -c constraints.txt -e ".[all,dev]"
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install -c constraints.txt -e ".[all,docs]"
	@touch $@

$(PARITY)/installed: pyproject.toml | system
	$(PYTHON) -m venv $(PARITY)
	SAM2_BUILD_CUDA=0 $(PARITY)/bin/python -m pip install \
		torch==2.15.0 torchvision==0.29.2 sam2==1.1.0 transformers==5.23.0 \
		segment-anything==1.0 -e ".[test]"
	@touch $@
