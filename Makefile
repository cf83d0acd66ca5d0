# Every target sets itself up: a virtual environment in $(VENV), the locked versions of requirements/, and this package.
# A stamp a level of installation says when that is done, so that a second call installs nothing.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGING := setup.cfg pyproject.toml
RUN_READY := $(VENV)/.ready-to-run
DEVELOPMENT_READY := $(VENV)/.ready-to-develop

INPUT ?= build/sample/exports
CAMPAIGNS ?= 2000
SEED ?=
ARGS ?=
IMAGE ?= topic-model:local
BASE_IMAGE ?=
DOCKER_ROOT ?= .local-aws-docker
DOCKER_PORT ?= 4611
BUILD_ARGS ?=
PACKAGES ?=
PACKAGE_ARGS ?=
IMAGE_ARGS ?=
QUICK_TESTS := -n 0 tests/pipelines/test_checks.py tests/pipelines/test_settings.py tests/pipelines/test_deployment.py
UV_VERSION := 0.13.8

## For everybody

.PHONY: help
help: ## List the targets
	@sed -n -e 's/^## \(.*\)$$/\n\1/p' -e 's/^\([a-zA-Z0-9_%-]*\):.*## \(.*\)$$/  make \1|\2/p' Makefile \
	  | awk -F'|' 'NF == 2 { printf "%-22s %s\n", $$1, $$2; next } { print }'

.PHONY: run
run: $(RUN_READY) ## Run the whole workflow on the sample, or on your own exports: make run INPUT=path ARGS="--name trial"
	@if [ "$(INPUT)" = build/sample/exports ] && [ ! -e build/sample ]; then $(MAKE) --no-print-directory sample; fi
	@$(BIN)/topic-model run --input "$(INPUT)" $(ARGS)

.PHONY: run-docker
run-docker: $(RUN_READY) ## As run, every job and the endpoint in a container of the image, which make images builds
	@if [ "$(INPUT)" = build/sample/exports ] && [ ! -e build/sample ]; then $(MAKE) --no-print-directory sample; fi
	@$(BIN)/topic-model local up --root $(DOCKER_ROOT) --port $(DOCKER_PORT) --mode docker --image $(IMAGE)
	@$(BIN)/topic-model run --input "$(INPUT)" --root $(DOCKER_ROOT) $(ARGS)

.PHONY: local-mode
local-mode: $(RUN_READY) ## As run, by the SageMaker SDK's local mode; compares with process mode bit for bit
	@if [ "$(INPUT)" = build/sample/exports ] && [ ! -e build/sample ]; then $(MAKE) --no-print-directory sample; fi
	@$(BIN)/topic-model local-mode --input "$(INPUT)" --image $(IMAGE) $(ARGS)

.PHONY: sample
sample: $(RUN_READY) ## Write the sample's exports to build/sample (CAMPAIGNS=2000 SEED=number)
	@$(BIN)/topic-model sample --out build/sample --campaigns $(CAMPAIGNS) $(if $(SEED),--seed $(SEED))

.PHONY: install
install: $(RUN_READY) ## Install what a run needs, and no more (the other targets do it for you)

.PHONY: clean
clean: ## Stop the local AWS and remove what was built (runs/, .local-aws/ and the environment stay)
	@if [ -x $(BIN)/topic-model ]; then $(BIN)/topic-model local down || true; fi
	@if [ -d $(DOCKER_ROOT) ]; then $(BIN)/topic-model local down --root $(DOCKER_ROOT) || true; fi
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info

## For developers

.PHONY: test
test: $(DEVELOPMENT_READY) ## Run the tests (ARGS="-k name" for some of them)
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: lint types test definition ## Everything that must hold before a commit: lint, types, tests, docs' commands, the definition

.PHONY: check-quick
check-quick: lint definition ## A few seconds of it: lint, the definition, and the tests of the workflow's definition
	@$(BIN)/python -m pytest $(QUICK_TESTS)

.PHONY: lint
lint: $(DEVELOPMENT_READY) ## Check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: format
format: $(DEVELOPMENT_READY) ## Mend style and format where that can be done by itself
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

.PHONY: types
types: $(DEVELOPMENT_READY) ## Check types
	@$(BIN)/mypy

.PHONY: definition
definition: $(DEVELOPMENT_READY) ## Check the workflow's definition: rendered file fresh, requests, graph and paths
	@$(BIN)/topic-model pipeline render --check
	@$(BIN)/topic-model pipeline check
	@if command -v npm >/dev/null 2>&1; then \
	  { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-audit --no-fund; } && \
	  for file in pipelines/rendered/*.asl.json; do node_modules/.bin/asl-validator --json-path $$file || exit 1; done; \
	else echo "asl-validator skipped: npm is not installed (CI runs it)"; fi

TEMPLATES := template.yaml delivery/pipeline.yaml delivery/acceptance.yaml
CHECKOV := build/checks/bin/checkov

.PHONY: check-templates
check-templates: $(DEVELOPMENT_READY) $(CHECKOV) ## Check the CloudFormation templates with cfn-lint and checkov
	@$(BIN)/python -m topic_model_cli.check_templates $(BIN)/cfn-lint $(CHECKOV) $(TEMPLATES)

.PHONY: test-slow
test-slow: $(DEVELOPMENT_READY) ## Run the tests that take minutes
	@$(BIN)/python -m pytest -m slow $(ARGS)

.PHONY: test-docker
test-docker: $(DEVELOPMENT_READY) ## Run the tests that need a Docker daemon
	@$(BIN)/python -m pytest -m docker $(ARGS)

.PHONY: test-browser
test-browser: $(DEVELOPMENT_READY) ## Run the tests that drive Chromium
	@$(BIN)/python -m pytest -m browser $(ARGS)

bench-%: $(DEVELOPMENT_READY) ## Run benchmarks/NAME.py: make bench-NAME (ARGS for its options)
	@$(BIN)/python -m benchmarks.$(subst -,_,$*) $(ARGS)

.PHONY: package
package: $(DEVELOPMENT_READY) ## Build into dist/ the wheel and what is deployed; PACKAGES=s3://bucket/prefix uploads that
	@mkdir -p dist
	@$(PIP) wheel -qq --no-deps --no-build-isolation --wheel-dir dist .
	@$(BIN)/topic-model package $(if $(PACKAGES),--bucket $(PACKAGES)) \
	  $(if $(wildcard dist/images.json),--images dist/images.json) $(PACKAGE_ARGS)

.PHONY: push
push: $(DEVELOPMENT_READY) ## Build both images and push them to ECR (IMAGE_REPOSITORY, ACCEPTANCE_REPOSITORY, COMMIT)
	@$(BIN)/python -m delivery.images $(IMAGE_ARGS)

.PHONY: deliver
deliver: $(DEVELOPMENT_READY) ## Carry delivery/pipeline.yaml out for the commit at hand, on a local AWS (ARGS="--approve")
	@$(BIN)/topic-model deliver $(ARGS)

.PHONY: images
images: $(BIN)/python ## Build the container image with Docker (IMAGE=name BASE_IMAGE=name)
	@$(BIN)/python -m containers.build --tag $(IMAGE) $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE)) $(BUILD_ARGS)

SUPPLY_CHAIN := build/supply-chain/bin

.PHONY: sbom
sbom: $(SUPPLY_CHAIN)/cyclonedx-py ## Write bills of materials (CycloneDX) to dist/: of the locks, and of the image if it is built
	@mkdir -p dist
	@for lock in container lookup-api; do \
	  $(SUPPLY_CHAIN)/cyclonedx-py requirements requirements/$$lock.txt --output-reproducible --short-PURLs --sv 1.6 \
	    --of JSON --output-file dist/sbom.$$lock.json || exit 1; \
	  echo "dist/sbom.$$lock.json  of requirements/$$lock.txt"; \
	done
	@if docker image inspect $(IMAGE) >/dev/null 2>&1; then \
	  $(SUPPLY_CHAIN)/python src/topic_model_cli/image_sbom.py $(IMAGE) dist/sbom.image.json; \
	else rm -f dist/sbom.image.json; echo "dist/sbom.image.json not written: Docker has no image $(IMAGE) (make images)"; fi

.PHONY: audit
audit: $(BIN)/python $(SUPPLY_CHAIN)/cyclonedx-py ## Look up known vulnerabilities of the locked versions; no data is no pass
	@PYTHONPATH=src $(BIN)/python -m topic_model_cli.audit_requirements $(SUPPLY_CHAIN)/pip-audit \
	  requirements/container.txt requirements/lookup-api.txt requirements/run.txt

.PHONY: docs
docs: $(DEVELOPMENT_READY) ## Write docs/cli.md anew from the commands' own help
	@$(BIN)/python -m topic_model_cli.reference docs/cli.md

.PHONY: lock
lock: $(BIN)/python ## Choose the versions of requirements/ anew, for Python 3.11 to 3.13
	@$(PIP) install -qq uv==$(UV_VERSION)
	@$(LOCK) --all-extras --upgrade --output-file requirements/development.txt
	@$(LOCK) --extra serving --extra lookup --extra pipelines --extra local --constraints requirements/development.txt \
	  --output-file requirements/run.txt
	@$(LOCK) --extra serving --constraints requirements/development.txt --output-file requirements/container.txt
	@printf '%s\n' boto3 fastapi mangum orjson pydantic | $(BIN)/uv pip compile - $(LOCKED) --python-version 3.12 \
	  --python-platform x86_64-manylinux_2_28 --constraints requirements/development.txt \
	  --output-file requirements/lookup-api.txt

	@printf '%s\n' cyclonedx-bom pip-audit | $(BIN)/uv pip compile - --universal --python-version 3.11 $(LOCKED) --upgrade \
	  --output-file requirements/supply-chain.txt
	@printf '%s\n' checkov | $(BIN)/uv pip compile - --universal --python-version 3.11 $(LOCKED) --upgrade \
	  --output-file requirements/checks.txt

# --universal: one file for all systems and Pythons in range; no header, annotation or index line, so that the file does
# not depend on who made it.
LOCK = $(BIN)/uv pip compile setup.cfg --universal --python-version 3.11 $(LOCKED)
LOCKED = --quiet --no-annotate --no-header --no-emit-index-url

# The environment. FIND_PYTHON leaves the interpreter in $$python or says what is missing.
IN_RANGE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
CANDIDATES = $(if $(PYTHON),$(PYTHON),python3.13 python3.12 python3.11 python3)
define FIND_PYTHON
python=; old=; bare=; \
for candidate in $(CANDIDATES); do \
  version=$$($$candidate -c 'import platform; print(platform.python_version())' 2>/dev/null) || continue; \
  if ! $$candidate -c '$(IN_RANGE)' 2>/dev/null; then old="$$old $$candidate=$$version"; continue; fi; \
  if ! $$candidate -c 'import venv, ensurepip' 2>/dev/null; then bare="$$bare $$candidate=$$version"; continue; fi; \
  python=$$candidate; break; \
done; \
if [ -z "$$python" ]; then \
  echo "topic-model needs Python 3.11, 3.12 or 3.13 with the venv module; looked for: $(CANDIDATES)" >&2; \
  if [ -n "$$old" ]; then echo "  outside the range:$$old" >&2; fi; \
  if [ -n "$$bare" ]; then echo "  without venv or ensurepip:$$bare (on Debian and Ubuntu: apt-get install python3-venv)" >&2; fi; \
  echo "  install one, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
  exit 1; \
fi
endef

$(BIN)/python:
	@$(FIND_PYTHON); \
	echo "Making $(VENV) with $$($$python --version)"; \
	$$python -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

# An environment of its own: checkov has a hundred dependencies, some of them older than this package's.
$(CHECKOV): requirements/checks.txt | $(BIN)/python
	@echo "Installing checkov (requirements/checks.txt) into build/checks; a minute, once"
	@$(BIN)/python -m venv --clear build/checks
	@build/checks/bin/python -m pip --disable-pip-version-check install -qq --no-deps --requirement $<
	@touch $@

# Another one: checkov holds back the library that the bills are made with.
$(SUPPLY_CHAIN)/cyclonedx-py: requirements/supply-chain.txt | $(BIN)/python
	@echo "Installing what make sbom and make audit need (requirements/supply-chain.txt) into build/supply-chain"
	@$(BIN)/python -m venv --clear build/supply-chain
	@$(SUPPLY_CHAIN)/python -m pip --disable-pip-version-check install -qq --no-deps --requirement $<
	@touch $@

$(RUN_READY): requirements/run.txt $(PACKAGING) | $(BIN)/python
	@echo "Installing what a run needs (requirements/run.txt); a minute or two, once"
	@$(PIP) install -qq --requirement requirements/run.txt
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m topic_model.kernels
	@touch $@

$(DEVELOPMENT_READY): requirements/development.txt $(PACKAGING) | $(BIN)/python
	@echo "Installing what development needs (requirements/development.txt); a minute or two, once"
	@$(PIP) install -qq --requirement requirements/development.txt
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m topic_model.kernels
	@touch $@ $(RUN_READY)
