# Needs make and a Python of 3.11 or newer; everything else is installed into .venvs.

# The newest Python on the PATH that works (pyenv's stand-ins may not); PYTHON=... overrides it.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
	done)

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format docs bench clean

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: ## Run a real pipeline, kill it half way, resume it, check that nothing was lost
test: ## Run the whole gate: format, lint, types, layers, tests on every Python found
lint: ## Check format, lint and layers
types: ## Check types
format: ## Format and fix what can be fixed
docs: ## Run every code block of the documentation
bench: ## Run the benchmarks, peers and all, and write docs/benchmarks.md (half an hour)

demo test lint types format docs bench:
	@test -n "$(PYTHON)" || { echo "No Python of 3.11 or newer was found on the PATH."; exit 1; }
	@"$(PYTHON)" tools/dev.py $@ $(ARGS)

clean: ## Remove what the other targets made
	rm -rf .venvs .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
