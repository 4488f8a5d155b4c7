# Everything a newcomer needs, from a checkout with python3 (3.11 or newer, with venv), git and make.
# All of it is installed into .venv. Outside this folder only `make demo` writes: the data directory, which is
# GEMEL_DATA, or else ~/.local/share/gemel.

PYTHON ?= python3
BIN := .venv/bin
VENV_STAMP := .venv/.made
RUN_STAMP := .venv/.ready-run
DEV_STAMP := .venv/.ready-dev
BROKERS_STAMP := .venv/.ready-brokers
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CODE := src tests bench tools

# Where it is set, each of the hundreds of processes that tests start would compile all of gemel once more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv demo test javascript explore unit check formatted lint types floors tidy bench bench-peers faults format docs protos clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(DEV_STAMP) ## set up .venv with everything for development

demo: $(RUN_STAMP) ## run the demo site: a database, twins, telemetry, a live view; Ctrl-C stops it all
	@$(BIN)/gemel demo

test: $(DEV_STAMP) $(BROKERS_STAMP) ## run all tests, the fast ones first
	@$(BIN)/pytest tests/unit
	@$(BIN)/pytest tests --ignore=tests/unit -n auto --dist loadfile --no-loadscope-reorder

javascript: $(DEV_STAMP) ## drive the JavaScript client against a server; needs node and npm
	@PYTHONPATH=src:tests $(BIN)/python tests/acceptance/clients/javascript/run.py

explore: $(DEV_STAMP) ## try the property-based tests on thousands of new examples each; takes a while
	@$(BIN)/pytest tests/unit -m hypothesis --hypothesis-profile=explore

unit: $(DEV_STAMP) ## run the fast tests alone
	@$(BIN)/pytest tests/unit

check: formatted lint types floors tidy ## run format, lint, types, floors and tidy rules; -k goes on after a fault

formatted: $(DEV_STAMP)
	@$(BIN)/ruff format --check --diff $(CODE)

lint: $(DEV_STAMP)
	@$(BIN)/ruff check $(CODE)

types: $(DEV_STAMP)
	@$(BIN)/mypy

floors: $(DEV_STAMP)
	@$(BIN)/lint-imports

tidy: $(DEV_STAMP)
	@$(BIN)/pytest tests/unit/house

bench: $(DEV_STAMP) $(BROKERS_STAMP) ## measure the figures, print them as a table, write bench.json
	@$(BIN)/python -m bench

bench-peers: $(DEV_STAMP) ## feed the same samples to InfluxDB and to Gemel, and print both
	@$(BIN)/python -m bench peers

faults: $(DEV_STAMP) $(BROKERS_STAMP) ## break things many times over, in each way there is, and print what was survived
	@$(BIN)/pytest tests/faults --fault-seeds 20 -n auto --dist loadfile --no-loadscope-reorder

format: $(DEV_STAMP) ## bring all code to the house's format
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix-only $(CODE)

docs: $(DEV_STAMP) ## write the pages that are made from the code
	@$(BIN)/python -m tools.docs

protos: $(DEV_STAMP) ## make the messages of gRPC from their .proto
	@$(BIN)/python -m tools.protos

clean: ## delete .venv and what tools left behind
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis build dist bench.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV_STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "gemel needs Python 3.11 or newer, and $(PYTHON) is older or missing: make PYTHON=python3.12 ..." >&2; \
	    exit 1; }
	@$(PYTHON) -m venv --clear .venv || { echo "$(PYTHON) -m venv failed; on Debian: apt install python3-venv" >&2; exit 1; }
	@touch $@

# The stamps make the second time instant; a change of what is to be installed sets up again.
$(RUN_STAMP): pyproject.toml constraints.txt $(VENV_STAMP)
	@echo "Installing gemel into .venv ..."
	@$(PIP) install -e . -c constraints.txt
	@touch $@

$(DEV_STAMP): pyproject.toml constraints.txt $(VENV_STAMP)
	@echo "Installing gemel and its development tools into .venv ..."
	@$(PIP) install -e '.[dev]' -c constraints.txt
	@touch $@ $(RUN_STAMP)

# The brokers that tests run against lie outside the checkout, so that another one finds them there.
$(BROKERS_STAMP): tools/brokers.sh $(VENV_STAMP)
	@tools/brokers.sh
	@touch $@
