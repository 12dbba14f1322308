# Thin: each target sets up what it needs and calls one tool or script. `make` alone lists the targets.

SHELL  := /bin/bash
JOBS   ?= $(shell nproc)
PREFIX ?= /usr/local
BIN    := build/release/millrace
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-flavours bench fuzz fmt lint install clean distclean

help: ## list the targets
	@echo "Millrace. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Start with: make demo"

setup: ## install what is missing (apt packages, Python packages into .venv)
	@scripts/setup.sh

build: ## build the program: build/release/millrace
	@scripts/setup.sh --no-python
	@scripts/build.sh release --target millrace

demo: ## build, start the platform, train, register, serve and query the bank-churn model (ONCE=1 stops afterwards)
	@scripts/setup.sh
	@scripts/build.sh release --target millrace
	@$(PYTHON) scripts/demo.py $(if $(filter-out 0,$(ONCE)),--once)

test: ## run every test layer
	@scripts/test.sh

test-flavours: ## serve real models of PyTorch, transformers, Keras, prophet and spaCy, and compare with MLflow (10 GB, once)
	@scripts/setup.sh
	@scripts/build.sh release --target millrace
	@$(PYTHON) -m tests.serving.flavours.run $(FLAVOURS)

bench: ## measure against the real peers and write bench/RESULTS.md
	@scripts/setup.sh --bench
	@scripts/build.sh release --target millrace
	@$(PYTHON) bench/run.py $(BENCH_ARGS)

fuzz: ## run every fuzz target for a minute (SECONDS_EACH=n)
	@scripts/setup.sh --no-python
	@scripts/fuzz.sh $(or $(SECONDS_EACH),60)

fmt: ## format the C++ and Python sources in place
	@scripts/setup.sh
	@scripts/lint.sh --fix

lint: ## clang-tidy, clang-format, ruff and shellcheck
	@scripts/setup.sh --test
	@scripts/lint.sh

install: ## install into PREFIX (default /usr/local; DESTDIR is honoured)
	@test -x $(BIN) || $(MAKE) --no-print-directory build
	@cmake --install build/release --prefix "$(PREFIX)"

clean: ## remove what was built (keeps the downloaded tools and .venv)
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name tools -exec rm -rf {} +; fi

distclean: ## remove everything that is not source
	@rm -rf build .venv
