# What a person types. Every target makes .venv from constraints.txt first, once.

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first of these that is Python 3.11 or newer; PYTHON=... on the command line decides otherwise.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help demo up down secrets rehearse test histories requests chaos check lint audit format pictures clean
.DEFAULT_GOAL := help

help: ## what can be typed
	@sed -n 's/^\([a-z]*\):.*## /  make \1#/p' $(MAKEFILE_LIST) | column -t -s '#'

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with make PYTHON=..."; exit 1; }
	@echo "installing into $(VENV), once; about two minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt torch --editable '.[dev]'
	@$(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV)/lib || true  # on every core, where pip takes one
	@touch $@

demo: $(STAMP) ## train SDCN on generated scenes through the whole service, and show the result
	@$(BIN)/sdcn demo

up: $(STAMP) ## start the service and keep it up until Ctrl-C
	@$(BIN)/sdcn up

down: $(STAMP) ## stop a service that was started elsewhere
	@$(BIN)/sdcn down

# Files of containers keep their owner and mode: the folder is closed, so that the files may be open to the images' user.
secrets: ## write the passwords and tokens that docker-compose.yml needs into deploy/secrets, where they are missing
	@mkdir -p -m 700 deploy/secrets
	@for name in database_password ray_token predictor_token; do \
	  test -s deploy/secrets/sdcn_$$name || (umask 033; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > deploy/secrets/sdcn_$$name); \
	done

rehearse: $(STAMP) ## start what docker-compose.yml says as plain processes, train on two nodes, lose one of them
	@$(BIN)/python -m deploy.rehearsal

test: lint ## everything that must hold: linters, types, layers, tests
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

histories: $(STAMP) ## thousands of random histories of the queue on both databases; twenty minutes
	@SDCN_HISTORIES=2000 $(BIN)/python -m pytest --quiet tests/service/queue/test_random_histories.py

requests: $(STAMP) ## ten thousand made-up requests to the API, with keys and without; some minutes
	@SDCN_REQUESTS=10000 $(BIN)/python -m pytest --quiet tests/service/api/test_openapi.py

chaos: $(STAMP) ## kill every part of a service of its own a hundred times; about twenty minutes
	@$(BIN)/python -m tests.chaos --rounds 100 --seed 0

check: test ## the same by another name, before a commit

lint: $(STAMP) ## format, style, spelling, types and layers, without the tests
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/codespell README.md CHANGELOG.md benchmarks deploy docs sdcn_core service workers tests
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

# In an environment of its own, so that what looks is not among what is looked up.
audit: ## look every version of constraints.txt up in PyPI's list of known vulnerabilities; needs PyPI itself, no mirror
	@test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && .audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	@.audit/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off --requirement constraints.txt

format: $(STAMP) ## let ruff write what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

pictures: $(STAMP) ## take the pictures of the pages in docs again; needs Chromium
	@$(BIN)/python -m tests.web.take_pictures

clean: ## remove what the project made, but .venv
	@rm -rf .sdcn .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
