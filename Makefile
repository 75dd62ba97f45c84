# `make pdf` and `make test` are all it takes; `make help` lists the rest.
#
# Two steps make a PDF, and each does again what changed, and nothing else:
#
#   notebooks/X.ipynb → build/quick/executed/X.ipynb → build/quick/notebooks/X.tex ┐
#   solutions_latex/HW.tex, answers/*.tex ─────────────────────────────────────────┴→ build/HW.pdf

EDITIONS := $(basename $(notdir $(shell grep -l '^[^%]*\\documentclass' solutions_latex/*.tex 2>/dev/null)))
HW       ?= $(or $(filter all,$(EDITIONS)),$(if $(word 2,$(EDITIONS)),,$(EDITIONS)))
override HW := $(notdir $(HW:.tex=))# a shell completes it to a file's name
PROFILE  ?= quick
JOBS     ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
TIMEOUT  ?= $(if $(filter full,$(PROFILE)),36000,600)
LIMIT    ?= 100
PYTHON   ?= python3
THREADS  ?= 1# of each notebook, whatever JOBS is: sums differ in their last bits with their number
STUDENT   = student.toml# whose details go on the cover; empty for nobody's
GRID     ?= -g layers=4:8 -g heads=2,3,4 -g seed=0,1,2

SETTABLE := HW Q DRAFT PROFILE JOBS TIMEOUT LIMIT PYTHON THREADS STUDENT GRID NAME NETID TOPIC RUNS KILLS ARGS
TYPED    := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v))
ifneq ($(filter-out $(SETTABLE) MAKE% -%,$(TYPED)),)
  $(error there is no $(filter-out $(SETTABLE) MAKE% -%,$(TYPED))=: what can be set is $(SETTABLE))
endif
ifneq ($(word 2,$(HW)),)
  $(error HW=$(HW): say one of $(EDITIONS))
endif
ifneq (4.2,$(firstword $(sort 4.2 $(MAKE_VERSION))))
  $(error this Makefile needs GNU Make 4.2 or later; on a Mac, `brew install make` and call gmake)
endif
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:

# In the conda environment of environment.yml the packages are there already.
PLACE    := $(if $(filter homework,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX),.venv)
READY    := $(PLACE)/.ready
BIN      := $(PLACE)/bin
HOMEWORK := $(BIN)/homework

# As typed: a $ in a name is a $. Only the command line counts, since some systems set NAME.
typed = $(if $(filter command,$(origin $(1))),$(value $(1)))
export HOMEWORK_NAME  := $(call typed,NAME)
export HOMEWORK_NETID := $(call typed,NETID)
export DRAFT MAKE# on a Mac this is gmake, and `make` is an old one
unexport PYTHONDONTWRITEBYTECODE# in many containers: each process would compile all of torch

TARGETS := help pdf check test test-torchtext test-browser test-torture sweep bench lab setup doctor \
  tex lock format badges docs clean
.PHONY: $(TARGETS) FORCE
ifneq ($(filter $(filter-out $(TARGETS),$(EDITIONS)),$(MAKECMDGOALS)),)
  $(error an edition is named by HW=, as in make pdf HW=$(lastword $(MAKECMDGOALS)))
endif
help: ## list the targets
	@echo "make TARGET [HW=$(HW)] [Q=3] [PROFILE=quick|full] [NAME='…'] [NETID=…] [DRAFT=1]"
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' Makefile
	@echo "HW is one of: $(EDITIONS)"

NAMED   := $(HW)$(if $(Q),-q$(Q))
WORK    := build/$(PROFILE)
PDF     := build/$(NAMED).pdf
RAN     := $(WORK)/$(NAMED).ran# the date of the last look at all notebooks
MADE    := $(RAN:.ran=.made)# the names of what was made of them; its date is that of the newest
SET     := build/.settings-$(NAMED)
CHOSEN   = --work $(WORK) --question $(or $(Q),0) --student "$(STUDENT)" --profile $(PROFILE)
EQUALS  := =# in the name of a file
PRESS   := $(wildcard helpers/pdf/*.py helpers/pdf/templates/* helpers/pdf/templates/*/*)
FOUND   := $(wildcard $(STUDENT) course.toml solutions_latex/macros.tex solutions_latex/*.bib)
MANIFEST = $(wildcard solutions_latex/$(HW).tex $(STUDENT) course.toml) $(SET) $(PRESS)
ONE      = $(if $(HW),,$(error say HW=…: one of $(or $(EDITIONS),those that `$(HOMEWORK) new edition NAME` begins)))

pdf: $(PDF) ## build/HW.pdf: answers and executed notebooks in one document
	@$(if $(NEW),,echo "$(PDF) is up to date")

check: $(READY) ## look build/HW.pdf over again and print its page map for Gradescope
	@$(ONE)$(HOMEWORK) check "$(PDF)" --limit $(LIMIT)

-include $(RAN:.ran=.d) $(PDF:.pdf=.d)

$(RAN): $(MANIFEST) $(wildcard notebooks) requirements.lock | $(READY) build/.tex
	@$(ONE)OMP_NUM_THREADS=$(THREADS) $(HOMEWORK) build solutions_latex/$(HW).tex $@ $(CHOSEN) --jobs $(JOBS) --timeout $(TIMEOUT)

ifneq ($(wildcard $(OUTPUTS)),$(OUTPUTS))
  $(RAN): FORCE
endif
$(MADE): $(RAN) ;

$(PDF): $(MANIFEST) $(MADE)
	$(eval NEW := yes)@$(HOMEWORK) typeset solutions_latex/$(HW).tex $@ $(CHOSEN) --limit $(LIMIT) $(if $(filter-out 0 no,$(DRAFT)),--draft)

# A file that changes only when the settings in it do.
SETTINGS := $(PROFILE) $(LIMIT) $(DRAFT) $(STUDENT) $(DATA_DIR) $(THREADS) $(HOMEWORK_NAME) $(HOMEWORK_NETID) $(FOUND)
ifneq ($(file <$(SET)),$(SETTINGS))
  $(SET): FORCE
endif
$(SET): export SETTINGS := $(SETTINGS)
$(SET):
	@mkdir -p $(@D) && cat > $@ <<< "$$SETTINGS"

test: $(READY) build/.tex ## run the tests
	@$(BIN)/ruff check --quiet helpers tests bench && $(BIN)/ruff format --quiet --check helpers tests bench \
	  || { echo "homework: the code above is not in our style: \`make format\` mends most of it" >&2; exit 2; }
	@$(BIN)/python -m pytest $(ARGS)

format: $(READY) ## put code and notebooks into our style
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format . || echo "(all the rest is in our style now)"

test-torchtext: .venv-torchtext/.ready ## compare our text handling with torchtext 0.18 (an environment of its own)
	@$(BIN)/python tests/torchtext/ours.py build/torchtext
	@OURS=build/torchtext/ours.json .venv-torchtext/bin/python -m pytest --noconftest -o addopts= -p no:cacheprovider tests/torchtext/agreement.py

test-browser: $(READY) $(READY).browser ## run the notebooks in a real JupyterLab and browser (needs Chromium; ARGS='-k rnn_recurrence' for one)
	@$(BIN)/python -m pytest -n 2 --dist load tests/browser/lab.py $(ARGS)

test-torture: $(READY) build/.tex ## break sweeps and builds on purpose (RUNS=200 JOBS=8 KILLS=20)
	@RUNS=$(or $(RUNS),200) JOBS=$(or $(call typed,JOBS),8) KILLS=$(or $(KILLS),20) \
	  $(BIN)/python -m pytest -n 0 -s tests/torture/sweep.py tests/torture/builds.py

sweep: $(READY) ## train the fifteen Vision Transformers (hours on a CPU; what is done is skipped)
	@$(HOMEWORK) sweep vit_training --profile full --jobs $(JOBS) $(GRID) $(ARGS)

bench: $(READY) $(READY).peers build/.tex ## measure against what one would otherwise use (TOPIC=… for one)
	@$(BIN)/python -m bench $(TOPIC)

lab: $(READY) ## open JupyterLab here (ARGS=--no-browser and the like are passed on)
	@$(BIN)/jupyter lab --allow-root --LabApp.default_url=/lab/tree/notebooks $(ARGS)

setup: $(READY) build/.tex ## Python packages and TeX, without building anything

doctor: ## is everything there that a build needs, and if not, what brings it?
	@$(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) helpers/doctor.py

tex: ## TeX and its fonts, through apt where that is allowed
	@$(PYTHON) helpers/doctor.py tex
	@mkdir -p build && touch build/.tex

build/.tex:
	@$(MAKE) tex

RESOLVE := uv pip compile --universal --generate-hashes --no-annotate --no-header --quiet --upgrade
lock: $(READY) ## renew requirements.lock and those of the optional lanes
	@$(BIN)/$(RESOLVE) --all-extras pyproject.toml -o requirements.lock
	@$(BIN)/$(RESOLVE) --python-version 3.11 tests/torchtext/requirements.in -o tests/torchtext/requirements.lock
	@$(BIN)/$(RESOLVE) --no-deps bench/requirements.in -o bench/requirements.lock
	@$(BIN)/$(RESOLVE) tests/browser/requirements.in -o tests/browser/requirements.lock

badges: $(READY) ## put this repository's address into Colab badges, Colab cells and the README
	@$(HOMEWORK) badges

# The full profile unless one is asked for, and nobody's name.
docs: PUBLISHED := $(or $(call typed,PROFILE),full)
docs: $(READY) ## docs/: the full-profile PDF and the README's pictures (hours, unless built)
	@$(MAKE) pdf HW=all PROFILE=$(PUBLISHED) STUDENT= NAME= NETID=
	@$(HOMEWORK) docs build/all.pdf docs --work build/$(PUBLISHED) --profile $(PUBLISHED)

clean: ## remove what was built
	@rm -rf build

# In a folder that was copied or moved, the environment is still that of where it was.
ifneq ($(filter-out $(patsubst %/.venv,%,$(realpath .venv)),$(file <.venv/.ready)),)
  .venv/.ready: FORCE
endif
# The lock pins uv, too: its lines install it, and it installs the rest several times faster.
.venv/.ready: requirements.lock pyproject.toml
	@if [ -L .venv ]; then echo "homework: .venv is a link, and stays as it is"; touch $@; exit; fi; \
	$(PYTHON) helpers/doctor.py python; \
	echo "Installing the packages of requirements.lock into .venv"; \
	$(PYTHON) -m venv --clear .venv; \
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt; \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt; \
	.venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock; \
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .; \
	pwd -P > $@

$(CONDA_PREFIX)/.ready: requirements.lock pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# What only the benchmarks or only the browser test need comes on top of the same environment.
$(READY).peers: bench/requirements.lock $(READY)
$(READY).browser: tests/browser/requirements.lock $(READY)
$(READY).peers $(READY).browser:
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r $<
	@touch $@

.venv-torchtext/.ready: tests/torchtext/requirements.lock $(READY)
	@$(BIN)/uv venv --quiet --clear --python ">=3.11,<3.13" .venv-torchtext
	@$(BIN)/uv pip sync --quiet --python .venv-torchtext/bin/python --require-hashes $<
	@touch $@
