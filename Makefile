# `make pdf` and `make test` are all it takes; `make help` lists the rest.
#
# Notebooks are executed, rendered and set as one PDF; every arrow of that graph is a rule
# here, so nothing is done twice and only what changed is done again:
#
#   notebooks/X.ipynb → build/quick/executed/X.ipynb → build/quick/notebooks/X.tex ┐
#   solutions_latex/HW.tex, answers/*.tex ─────────────────────────────────────────┴→ build/HW.pdf

HW      ?= all
PROFILE ?= quick
JOBS    ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
TIMEOUT ?= $(if $(filter full,$(PROFILE)),36000,600)
LIMIT   ?= 100
PYTHON  ?= python3

ifneq (4.2,$(firstword $(sort 4.2 $(MAKE_VERSION))))
  $(error this Makefile needs GNU Make 4.2 or later; on a Mac, `brew install make` and call gmake)
endif
ifeq ($(filter quick full,$(PROFILE)),)
  $(error PROFILE is quick or full, not '$(PROFILE)')
endif
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:

# In the conda environment of environment.yml the packages are there already.
ifeq ($(CONDA_DEFAULT_ENV),homework)
  BIN   := $(CONDA_PREFIX)/bin
  READY := $(CONDA_PREFIX)/.homework
else
  BIN   := .venv/bin
  READY := .venv/.ready
endif
HOMEWORK := $(BIN)/homework

EDITIONS  := $(basename $(notdir $(wildcard solutions_latex/*.tex)))
EDITION   := solutions_latex/$(HW).tex
PDF       := build/$(HW).pdf
WORK      := build/$(PROFILE)
# As helpers/pdf/edition.py reads it: less comments, in the [ ] of each \question.
WANTED    := $(shell sed -nE -e 's/(^|[^\\])((\\\\)*)%.*/\1\2/' -e 's/^.*\\question\[[^]]*notebook=(\{[^}]*\}|[A-Za-z0-9_-]*).*/\1/p' $(EDITION) 2>/dev/null | tr '{,}' '   ')
FOUND     := $(filter $(WANTED),$(patsubst notebooks/%.ipynb,%,$(wildcard notebooks/*.ipynb)))
# The longest begin first, so that no processor waits at the end for one that began last.
LONGEST   := vit_training sentiment_transformer cnn_vs_rnn rnn2d_parameters
NOTEBOOKS := $(filter $(FOUND),$(LONGEST)) $(filter-out $(LONGEST),$(FOUND))
EXECUTED  := $(NOTEBOOKS:%=$(WORK)/executed/%.ipynb)
BODIES    := $(NOTEBOOKS:%=$(WORK)/notebooks/%.tex)
ANSWERS   := $(wildcard solutions_latex/answers/*.tex)

# Of each notebook, whatever JOBS is: sums differ in their last bits with the number of threads.
THREADS ?= 1

# Whose details go on the cover; empty for nobody's.
STUDENT = student.toml

# As typed: a $ in a name is a $. Only the command line counts, since some systems set NAME.
typed = $(if $(filter command,$(origin $(1))),$(value $(1)))
export HOMEWORK_NAME  := $(call typed,NAME)
export HOMEWORK_NETID := $(call typed,NETID)

# Where this is set (in many containers), each process would compile all of torch once more.
unexport PYTHONDONTWRITEBYTECODE

# For what calls make again: on a Mac this is gmake, and `make` is an old one.
export MAKE

# A file that changes only when the settings named in it do: what depends on it follows them.
remember = $(if $(call same,$(file <$(1)),$(2)),,$(shell mkdir -p $(dir $(1)))$(file >$(1),$(2)))
same     = $(and $(findstring x$(1)x,x$(2)x),$(findstring x$(2)x,x$(1)x))

# The data sets' files that are there, as a checksum of their names. Numbers from a stand-in follow it.
AT_HAND = $(shell cd "$${DATA_DIR:-data/cache}" 2>/dev/null && find -L . -maxdepth 3 -type f ! -name '.*' ! -path './features/*' ! -path './checkpoints/*' | LC_ALL=C sort | cksum)

.PHONY: help
help: ## list the targets
	@echo "make TARGET [HW=$(HW)] [PROFILE=quick|full] [NAME='…'] [NETID=…]"
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' Makefile
	@echo "HW is one of: $(EDITIONS)"

EDITION_IS_THERE = $(if $(wildcard $(EDITION)),,echo "homework: there is no edition '$(HW)'; HW is one of $(EDITIONS)" >&2; exit 2)

# Make runs a line with $(MAKE) under -n, -t and -q, too: this keeps its other commands from acting.
FLAGS      = $(filter-out --%,$(firstword -$(MAKEFLAGS)))
UNLESS_DRY = $(if $(strip $(foreach flag,n t q,$(findstring $(flag),$(FLAGS)))),:)

.PHONY: pdf
pdf: $(READY) build/.tex ## build/HW.pdf: answers and executed notebooks in one document
	@$(EDITION_IS_THERE)
	@if $(MAKE) --question $(PDF) 2>/dev/null; then echo "$(PDF) is up to date"; else \
	  if [ -e $(PDF) ]; then $(UNLESS_DRY) mv $(PDF) $(PDF:.pdf=.outdated.pdf); fi; \
	  { $(UNLESS_DRY) $(TYPESET) --dry-run && \
	    $(MAKE) --jobs=$(JOBS) --output-sync=line $(PDF); } || { \
	    if [ -e $(PDF:.pdf=.outdated.pdf) ]; then \
	      echo "homework: the PDF of before is $(PDF:.pdf=.outdated.pdf)" >&2; fi; exit 2; }; \
	  $(UNLESS_DRY) rm -f $(PDF:.pdf=.outdated.pdf); fi

.PHONY: check
check: $(READY) ## look build/HW.pdf over again and print its page map for Gradescope
	@$(EDITION_IS_THERE)
	@$(HOMEWORK) check "$(PDF)" --limit $(LIMIT)

ifneq ($(filter build/%,$(MAKECMDGOALS)),)
  $(call remember,build/.settings-$(HW),PROFILE=$(PROFILE) LIMIT=$(LIMIT) STUDENT=$(STUDENT) NAME=$(HOMEWORK_NAME) NETID=$(HOMEWORK_NETID) $(NOTEBOOKS))
  $(call remember,$(WORK)/.settings,DATA_DIR=$(DATA_DIR) THREADS=$(THREADS))
  $(call remember,$(WORK)/.data,at hand: $(AT_HAND))
  -include $(EXECUTED:.ipynb=.d)
endif

TYPESET = $(HOMEWORK) typeset $(EDITION) $(PDF) --work $(WORK) --profile $(PROFILE) --limit $(LIMIT) --student "$(STUDENT)"
PRESS := helpers/cli.py $(wildcard helpers/pdf/*.py helpers/pdf/templates/* helpers/pdf/templates/*/*)

$(PDF): $(EDITION) $(BODIES) $(ANSWERS) solutions_latex/homework.cls $(wildcard solutions_latex/references.toml) $(STUDENT) $(PRESS) build/.settings-$(HW)
	@$(TYPESET)

$(WORK)/notebooks/%.tex: $(WORK)/executed/%.ipynb $(PRESS)
	@$(HOMEWORK) render $< $@

$(WORK)/executed/%.ipynb: notebooks/%.ipynb requirements.lock $(WORK)/.settings
	@OMP_NUM_THREADS=$(THREADS) $(HOMEWORK) execute $< $@ --profile $(PROFILE) --timeout $(TIMEOUT)

.PRECIOUS: $(WORK)/executed/%.ipynb $(WORK)/notebooks/%.tex
build/.settings-$(HW) $(WORK)/.settings $(WORK)/.data: ;

.PHONY: test
test: $(READY) build/.tex ## run the tests
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/python -m pytest

.PHONY: test-torchtext
test-torchtext: .venv-torchtext/.ready ## compare our text handling with torchtext 0.18 (an environment of its own)
	@$(BIN)/python tests/torchtext/ours.py build/torchtext
	@OURS=build/torchtext/ours.json .venv-torchtext/bin/python -m pytest --noconftest -o addopts= -p no:cacheprovider tests/torchtext/agreement.py

.PHONY: test-browser
test-browser: $(READY) $(READY).browser ## run the notebooks in a real JupyterLab and browser (needs Chromium)
	@$(BIN)/python -m pytest -n 2 --dist load tests/browser/lab.py

# A budget for a laptop without a GPU; with one, leave the last three out and add -g seed=0,1,2.
GRID ?= -g layers=4:8 -g heads=2,3,4 -g epochs=10 -g width=60 -g batch=64

.PHONY: sweep
sweep: $(READY) ## train the fifteen Vision Transformers (hours on a CPU; what is done is skipped)
	@$(HOMEWORK) sweep vit_training --profile full --jobs $(JOBS) $(GRID)

TOPIC ?= all

.PHONY: bench
bench: $(READY) $(READY).peers build/.tex ## measure against what one would otherwise use (TOPIC=… for one)
	@$(BIN)/python -m bench $(TOPIC)
	@$(HOMEWORK) colab

.PHONY: test-torture
test-torture: $(READY) build/.tex ## break sweeps and builds on purpose (RUNS=200 JOBS=8 KILLS=20)
	@RUNS=$(or $(RUNS),200) JOBS=$(or $(call typed,JOBS),8) KILLS=$(or $(KILLS),20) \
	  $(BIN)/python -m pytest -n 0 -s tests/torture/sweep.py tests/torture/builds.py

.PHONY: audit
audit: $(READY) ## look for known vulnerabilities in the locked packages (pip-audit, from the network)
	@mkdir -p build && sed '/^ *--hash/d; s/ \\$$//' requirements.lock > build/audit.txt
	@$(BIN)/uv tool run --quiet pip-audit --no-deps --disable-pip -r build/audit.txt || { \
	  echo "homework: pip-audit found something, or could not ask (it needs the network)" >&2; exit 2; }

.PHONY: licences
licences: $(READY) ## the licence of every installed package
	@$(BIN)/python -m helpers.pdf.licences

.PHONY: lab
lab: $(READY) ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

.PHONY: setup
setup: $(READY) build/.tex ## Python packages and TeX, without building anything

.PHONY: doctor
doctor: ## is everything there that a build needs, and if not, what brings it?
	@$(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) -m helpers.pdf.doctor

.PHONY: tex
tex: ## TeX and its fonts, through apt where that is allowed
	@$(PYTHON) -m helpers.pdf.system tex
	@mkdir -p build && touch build/.tex

build/.tex:
	@$(MAKE) tex

RESOLVE := uv pip compile --universal --generate-hashes --no-annotate --no-header \
  --no-emit-index-url --quiet --upgrade

.PHONY: lock
lock: $(READY) ## renew requirements.lock and those of the optional lanes
	@$(BIN)/$(RESOLVE) --all-extras pyproject.toml -o requirements.lock
	@$(BIN)/$(RESOLVE) --python-version 3.11 tests/torchtext/requirements.in -o tests/torchtext/requirements.lock
	@$(BIN)/$(RESOLVE) --no-deps bench/requirements.in -o bench/requirements.lock
	@$(BIN)/$(RESOLVE) tests/browser/requirements.in -o tests/browser/requirements.lock

.PHONY: colab
colab: $(READY) ## renew Colab badges, Colab cells and the README's tables
	@$(HOMEWORK) colab

# The full profile unless one is asked for, and nobody's name.
docs: PUBLISHED := $(if $(filter command,$(origin PROFILE)),$(PROFILE),full)
.PHONY: docs
docs: $(READY) ## docs/: the full-profile PDF and the README's pictures (hours, unless built)
	@$(MAKE) pdf HW=all PROFILE=$(PUBLISHED) STUDENT= NAME= NETID=
	@$(HOMEWORK) docs build/all.pdf docs --work build/$(PUBLISHED) --profile $(PUBLISHED)

.PHONY: clean
clean: ## remove what was built
	@rm -rf build

# The lock pins uv, too: its lines install it, and it installs the rest several times faster.
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -m helpers.pdf.system python
	@echo "Installing the packages of requirements.lock into .venv"
	@$(PYTHON) -m venv --clear .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@.venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

$(CONDA_PREFIX)/.homework: requirements.lock pyproject.toml
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
