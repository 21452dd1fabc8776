# Two commands do everything: `make demo` and `make test`. Both set up .venv first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo kernels test test-long check bench truth chaos soak clean

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,check]'
	@touch $@

demo: $(STAMP)
	$(BIN)/quicklook demo

# once, in a minute and a half: three workers of the tests would do it at the same time, while other tests wait. -P: tests/qa is not qa
kernels: $(STAMP)
	$(BIN)/python -P tests/compile_kernels.py

# one worker more than the two cores: many tests wait for processes of their own
test: kernels
	$(BIN)/python -m pytest -m "not long" --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-long: kernels
	QUICKLOOK_EXAMPLES=search $(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/quicklook bench

# every number of the validation kit, ours beside the public pipeline's: docs/reference/truth.md (half an hour)
truth: $(STAMP)
	$(BIN)/python docs/make_truth.py

# 200 exposures while daemon and workers are killed at random points; docs/reference/endurance.md (some ten minutes)
chaos: $(STAMP)
	$(BIN)/python tests/chaos/chaos_run.py --exposures 200 --kills 60 --page docs/reference/endurance.md

# memory over 2000 small exposures, and the times of a journal of 120,000 jobs; docs/reference/endurance.md (half an hour)
soak: $(STAMP)
	$(BIN)/python tests/chaos/soak_run.py --exposures 2000 --page docs/reference/endurance.md
	$(BIN)/python tests/chaos/journal_run.py --exposures 4000 --page docs/reference/endurance.md

clean:
	rm -rf $(VENV) demo-output build *.egg-info .pytest_cache .mypy_cache .ruff_cache
