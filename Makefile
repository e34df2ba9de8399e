# The course's commands. `make help` lists them.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LOCK := requirements/main.txt
STAMP := $(VENV)/.installed-$(shell cksum < $(LOCK) | cut -d' ' -f1)-$(shell cksum < pyproject.toml | cut -d' ' -f1)
HEADLESS := TQDM_DISABLE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 HF_HUB_DISABLE_PROGRESS_BARS=1

.DEFAULT_GOAL := help
.PHONY: help setup course test lab doctor format notebooks lock tiny-model clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 14

setup: $(STAMP) ## set up .venv from the lock (the other commands do this when it is needed)

# The stamp's name holds the sums of the lock and of pyproject.toml: a change of either installs again.
$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "The course needs Python 3.11, 3.12 or 3.13, not %d.%d: make PYTHON=python3.12 ..." % v)'
	@echo "Setting up $(VENV) from $(LOCK): a few minutes, once"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --disable-pip-version-check -r $(LOCK)
	@$(PY) -m pip install --disable-pip-version-check --quiet --no-deps --editable .
	@rm -f $(VENV)/.installed-*
	@touch $@

course: setup ## run every notebook in order; executed copies and an index.html go to build/course/
	@$(PY) -m clmkit course

lab: setup ## open JupyterLab on the course
	@$(VENV)/bin/jupyter lab --ServerApp.root_dir=notebooks $(LAB_OPTIONS)

test: setup ## run every test: unit, property, bad input, notebooks, ruff, mypy
	@$(VENV)/bin/ruff format --check --quiet . || { echo "ruff would format the files above: make format"; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(PY) -m pytest

doctor: setup ## say what on this machine would keep the course from working
	@$(PY) -m clmkit doctor

format: setup ## let ruff format and mend the code
	@$(VENV)/bin/ruff check --quiet --fix .
	@$(VENV)/bin/ruff format --quiet .

notebooks: setup ## run the committed notebooks in place, as a change to one requires
	@$(PY) -m tests.notebooks.execute

lock: setup ## compile requirements/main.txt anew from pyproject.toml
	@$(PY) -m pip install --disable-pip-version-check --quiet uv
	@$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --upgrade pyproject.toml --constraint requirements/constraints.txt \
	    --extra torch --extra keras-hub --extra lab --extra test --no-header --no-annotate --no-emit-index-url \
	    | grep -Ev '^(cuda|nvidia|triton)' > $(LOCK).new
	@mv $(LOCK).new $(LOCK)

tiny-model: setup ## train the bundled tiny GPT-2 again (an hour or two on two cores)
	@$(PY) -m clmkit.bundled.make_tiny_gpt2 --output build/tiny_gpt2
	@cp build/tiny_gpt2/* clmkit/bundled/tiny_gpt2/

clean: ## remove what the commands made, but for .venv
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache *.egg-info
