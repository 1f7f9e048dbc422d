# `make demo` and `make test`: each makes .venv, installs the tested versions into it, and does its job.
# Needed beforehand: make and Python 3.11 or 3.12. PYTHON=... names one that is not found by itself.

PYTHON ?= $(shell for name in python3.11 python3.12 python3 python; do \
    $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test install clean

demo: $(INSTALLED)
	$(BIN)/tunable demo

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest

install: $(INSTALLED)

# torch's own package index offers a CPU build of a tenth the size; it is asked first where no GPU is seen,
# and the default index is taken where that index cannot be reached.
$(INSTALLED): setup.py constraints.txt
ifeq ($(strip $(PYTHON)),)
	@echo "make: no Python 3.11 or 3.12 was found (MindSpore 2.10 runs on no other); install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 2
endif
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python tools/install_torch.py constraints.txt
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $(INSTALLED)

clean:
	rm -rf .venv demo_output build *.egg-info
