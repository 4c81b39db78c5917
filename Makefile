# Every command a contributor needs. `make setup` wants nothing but python3 with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/opcode-*))
STAMP := $(VENV)/.ready

.PHONY: setup demo test lint format bench soak soak-simulator soak-kills fuzz clean help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## create .venv with the kernel, every plugin and the tools

$(STAMP): constraints.txt pyproject.toml opcode/pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt hatchling editables
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation \
	  -e "./opcode[daemon,fast,test]" $(addprefix -e ./,$(PLUGINS)) -e . -r dev-requirements.txt
	@touch $(STAMP)

demo: setup ## the main job, end to end, against a real daemon
	$(BIN)/python examples/demo

# The tests start hundreds of interpreters: what one has compiled is kept for the next, whatever the environment says.
test: export PYTHONDONTWRITEBYTECODE :=
test: setup lint ## everything that must hold
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not alone"
	$(BIN)/python -m pytest -m alone $$(grep -rl 'mark\.alone' --include='test_*.py' opcode plugins tests)

lint: setup ## format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --config pyproject.toml

format: setup ## rewrite the sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## print the speed figures
	$(BIN)/python -m bench

soak: soak-simulator soak-kills ## hours of both: simulated runs by seed, and engines killed under load

SEEDS ?= 100000
FIRST ?= 0
JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)

soak-simulator: setup ## simulate SEEDS runs from FIRST on in JOBS processes; stops at the first that fails
	$(BIN)/python -m opcode_kernel.testing.simulator --seeds $(SEEDS) --first $(FIRST) --jobs $(JOBS)

soak-kills: setup ## kill -9 engines and daemons at work, and audit what they kept
	$(BIN)/python -m tests.soak

EACH ?= 100000

fuzz: setup ## EACH spoilt definitions and EACH spoilt expressions, from seed FIRST on, in JOBS processes
	$(BIN)/python -m tests.fuzz --definitions $(EACH) --expressions $(EACH) --first $(FIRST) --jobs $(JOBS)

clean: ## remove everything that setup and the tools made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
