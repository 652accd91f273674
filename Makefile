# The two commands to begin with: `make demo` shows a billing cycle from end to end, `make up` keeps the
# same stack running. All that they need is Python 3.11; everything is installed into .venv, all files
# that are written lie below var/.

IS_3_11 := -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'
PYTHON ?= $(or $(shell for name in python3.11 python3 python; do \
	$$name $(IS_3_11) 2>/dev/null && echo $$name && break; done),python3)
VENV := .venv
BIN := $(VENV)/bin
UV := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv
COMPILE := $(UV) pip compile --quiet --python-version 3.11 --python-platform linux --no-header \
	--no-emit-index-url --no-emit-find-links
ARGS ?=

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install demo up down status test lint format bench chaos lives docs upgrade clean distclean

help: ## Show this list
	@echo "make <target>, with further arguments as ARGS=\"…\":"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  %-12s%s\n' "$$name" "$$text"; done

install: $(VENV)/.project ## Make .venv with the pinned requirements and the project

demo: install ## Let sample customers enrol by coupon and bill them, from end to end, then stop everything
	@$(BIN)/fatoura demo $(ARGS)

up: install ## Start the stack, keep it running, print the UI's address and login
	@$(BIN)/fatoura stack up $(ARGS)

down: ## Stop the stack, also what a crash left behind
	@if [ -x $(BIN)/fatoura ]; then $(BIN)/fatoura stack down; else echo "nothing was running"; fi

status: ## Show how each part of the stack does
	@if [ -x $(BIN)/fatoura ]; then $(BIN)/fatoura stack status $(ARGS); else echo "not installed: make install"; fi

test: $(VENV)/.tests ## Run all tests; those that need an absent Debian package are skipped by name
	@$(BIN)/pytest $(ARGS)

lint: $(VENV)/.tests ## Check style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(VENV)/.tests ## Mend style where a tool can
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

bench: $(VENV)/.tests ## Measure speed and memory, as ratios to a bare COPY
	@$(BIN)/python -m tests.bench $(ARGS)

chaos: $(VENV)/.tests ## Inject faults into rounds of 1,000 messages, and tell what became of each
	@$(BIN)/python -m tests.chaos $(ARGS)

lives: $(VENV)/.tests ## Live random lives of cut-off cases, and judge each step of them
	@$(BIN)/python -m tests.model $(ARGS)

docs: install ## Generate what is generated: pinned requirements, settings, DAGs, schema
	@$(COMPILE) pyproject.toml --output-file requirements.txt
	@$(COMPILE) pyproject.toml --extra test --extra s3 --constraint requirements.txt \
		--output-file tests/requirements.txt
	@$(BIN)/python docs/generate.py

upgrade: install ## Raise the pinned requirements to the newest that fit
	@$(COMPILE) --upgrade pyproject.toml --output-file requirements.txt
	@$(COMPILE) --upgrade pyproject.toml --extra test --extra s3 --constraint requirements.txt \
		--output-file tests/requirements.txt

clean: ## Remove caches and the demonstration; data in var/ stays
	@if [ -x $(BIN)/fatoura ]; then FATOURA_VAR=var/demo $(BIN)/fatoura stack down; fi
	rm -rf var/demo build .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: down clean ## Remove .venv and var/ too, with all data
	rm -rf $(VENV) var include/*.egg-info

# Stamps: a second call finds everything done and takes no time.

$(VENV)/.uv:
	@$(PYTHON) $(IS_3_11) 2>/dev/null || { \
		echo "This project needs Python 3.11, but $(PYTHON) is: $$($(PYTHON) --version 2>&1)" >&2; \
		echo "Install python3.11, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@echo "· making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3.11-venv" >&2; \
		exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/.requirements: requirements.txt $(VENV)/.uv
	@echo "· installing the pinned requirements"
	@$(UV) pip install --compile-bytecode --requirements requirements.txt
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.requirements
	@$(UV) pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.tests: tests/requirements.txt $(VENV)/.project
	@echo "· installing what the tests need"
	@$(UV) pip install --compile-bytecode --requirements tests/requirements.txt
	@touch $@
