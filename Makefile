# `make help` lists what there is. Each target makes .venv first and installs the tested versions into it.
# Needed beforehand: make and Python 3.11 or 3.12. PYTHON=... names one that is not found by itself.

PYTHON ?= $(shell for name in python3.11 python3.12 python3 python; do \
    $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed

# Two processes share the tests. Each computes with one thread: with small tensors, threads wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
TWO := --numprocesses 2 --dist worksteal
# The four that `make quick` takes of what needs both frameworks.
QUICK := tests $(addprefix parity_tests/test_,mirror.py imports.py faces.py layers.py)
LAYER := tests/test_oracle.py $(addprefix parity_tests/test_,layers.py limits.py drawn.py mutants.py)
LINT := $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/basedpyright --pythonpath $(BIN)/python

# Lint runs while the tests do, and speaks after them; a failure of either is one of the target.
define BESIDE_LINT
@{ $(LINT); } > .venv/lint.log 2>&1 & lint=$$!; $(PYTEST) $(TWO) $(1); tests=$$?; \
	wait $$lint; linted=$$?; cat .venv/lint.log; exit $$((tests || linted))
endef

# The programs that exported files are for, as far as a package index has them. Not with what they ask for: spandrel
# would bring another torch with torchvision, which it needs for networks that are not exported.
RUNTIMES := spandrel einops ncnn openvino openvino-telemetry

.PHONY: help demo quick layer test mutants package docs lint install clean

help:                 ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1@/p' Makefile | column -t -s @

demo: $(INSTALLED)    ## train a small tunable denoiser, verify it, and leave a page in demo_output
	$(BIN)/tunable demo

quick: $(INSTALLED)    ## while working: lint, neutral tests, one phi and p per layer in both twins (a good minute)
	$(call BESIDE_LINT,$(QUICK) -m 'not thorough')

layer: $(INSTALLED)   ## one kind of layer: oracle, both twins, its mutants; NAME=conv, linear, norm, attention ...
	$(PYTEST) $(TWO) $(LAYER) -k '($(or $(NAME),$(error NAME=conv, conv_transpose, linear, norm, attention, parameter or phi))) or test_oracle'

test: $(INSTALLED)     ## what continuous integration runs (twelve minutes on two cores)
	$(call BESIDE_LINT,-m 'not rest')

mutants: $(INSTALLED) ## every deliberate fault in every twin, each of which a test must see
	$(PYTEST) $(TWO) -m mutant

package: $(INSTALLED) ## the wheel in clean environments, with PyTorch, MindSpore and onnxruntime alone; EXTRAS=torch: one
	$(BIN)/tunable export denoise --format onnx -o .venv/network.onnx
	$(BIN)/python tools/package.py .venv/network.onnx $(EXTRAS)

docs: $(INSTALLED)    ## the documentation as a site, in the folder site; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir site

lint: $(INSTALLED)    ## rules, format and types of the source
	$(LINT)

install: $(INSTALLED) ## .venv with the tested versions

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
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps $(RUNTIMES)
	$(BIN)/python -m tools.npm_packages
	touch $(INSTALLED)

clean:                ## remove what make made
	rm -rf .venv demo_output build site *.egg-info
