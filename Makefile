# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
# two files of tests at a time; threads that wait leave the cores to the other one
TESTS := env OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
DEBIAN := $(shell sed 's/\#.*//' tests/debian-packages.txt)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: run install debian-packages test test-slow lint format schema clean

run: install
	$(BIN)/python -m pipeline synthetic
	$(BIN)/snakemake --cores all
	@echo
	@echo "Done. Open results/report.html in a browser: scores, curves, images, times."
	@echo "Scores: results/leaderboard.csv and results/metrics/. Renderings: results/predictions/*/test/."
	@echo "Networks and learning curves: results/models/. All of it was made from synthetic data."

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt $(wildcard logger/pyproject.toml logger/*/*.py)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	# what the terminal shows; not editable, because Snakemake does not find such plugins
	rm -rf logger/build
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ./logger
	# tests compare with PySODMetrics, which asks for an old NumPy and works with the one that is there
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps pysodmetrics
	touch $(STAMP)

# Programs that some tests need and pip cannot install; does nothing where all of them are there.
debian-packages:
	@missing=$$(for name in $(DEBIAN); do \
		dpkg-query --show --showformat '$${db:Status-Status}' "$$name" 2> /dev/null | grep --quiet '^installed$$' || echo "$$name"; \
	done); \
	test -z "$$missing" || { \
		command -v apt-get > /dev/null || { echo "No apt-get here; tests are skipped that need" $$missing >&2; exit 1; }; \
		$(SUDO) apt-get update --quiet; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $$missing; }

# Minutes: style, types, workflow checks, unit tests, real runs of the workflow on the sample.
test: install lint
	$(TESTS) -m "not slow"

# What takes longer, and what needs the real data sets (PIPELINE_REAL_DATA names their folder).
test-slow: install
	$(BIN)/python -m pytest -m alone
	$(TESTS) -m "slow and not alone"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile workflow

# The JSON schema of config.yaml, docs/commands.md and docs/configuration.md.
schema: install
	$(BIN)/python -m pipeline schema --docs docs

clean:
	rm -rf results data/synthetic .snakemake
