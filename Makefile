# A fresh machine needs only Python 3.11+ and make: every target sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALLED := $(VENV)/.installed
ADAPTERS := $(VENV)/adapters
AEGRA := $(VENV)/aegra

.PHONY: demo test test-all check lint bench clean

demo: $(INSTALLED)  ## the main job: a needle in 1,000,000 lines, then a question of 200 sub-calls
	$(BIN)/langgraph-rlm demo

test: $(READY) $(AEGRA)  ## the tests: no network, no key, no GPU; files side by side, on up to four cores
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile
	PYTHONPATH=$(ADAPTERS) $(BIN)/pytest tests/test_mcp_tools.py

test-all: $(READY)  ## the tests on each Python from 3.11 on that there is; says which there is not
	$(BIN)/nox

check: lint test  ## linters, types and the slow tests too, which have the machine to themselves
	$(BIN)/pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(READY)  ## ratios against plain loops, in one run
	$(BIN)/python benchmarks/run.py

$(INSTALLED): pyproject.toml  # the package alone: a demo needs no tools of developers
	@echo "Setting up $(VENV): about a minute, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(READY): $(INSTALLED)
	@echo "Adding the tools of developers."
	$(BIN)/python -m pip install --quiet --editable . --group dev
	# LangChain's adapters need version 1 of the MCP SDK, and stand in a folder of their own with it
	$(BIN)/python -m pip install --quiet --upgrade --target $(ADAPTERS) --no-deps \
	  "langchain-mcp-adapters>=0.3,<0.4" "mcp>=1.24,<2" httpx-sse pydantic-settings python-dotenv
	touch $@

$(AEGRA): pyproject.toml  # an engine for tests/deployment, where there is a Python that it runs on
	$(PYTHON) tests/deployment/install_engine.py $@

clean:
	rm -rf $(VENV) .nox
