# `make demo` and `make test` do all their own set-up; they need Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt

# Where Linux machines without an NVIDIA driver get a torch without the CUDA libraries (gigabytes less).
# Unreachable, it costs two seconds and the wheel comes from pip's usual index.
TORCH_INDEX ?= $(if $(filter Linux,$(shell uname -s)),$(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu))

# The test processes share the cores; threads of their own would only fight over them.
ONE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1

# Those that need no peer but BART and SigPy; the others say in their docstrings what they need.
BENCHMARKS := espirit sense nufft serving whole_scan

.PHONY: help demo test check bench environment clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    simulate a scan, stream it through the server, look at the images in demo/"
	@echo "make test    all checks and all tests"
	@echo "make check   ruff, mypy, import-linter"
	@echo "make bench   time everything against its peers (quiet machine, BART installed)"
	@echo "make clean   remove the environment and the demo"

demo: $(READY)
	$(BIN)/reconstream demo

test: check
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

environment: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; run make PYTHON=...")'
	@echo "Building the environment in $(VENV) (once; torch is large)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) pip hatchling editables
	@$(PIP) --no-deps $(if $(TORCH_INDEX),--retries 1 --extra-index-url $(TORCH_INDEX)) torch
	@$(PIP) --no-build-isolation --group dev --editable .
	@touch $@

clean:
	rm -rf $(VENV) demo
