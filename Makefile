# make demo   everything on this machine, with tasks that fail on purpose
# make demo-console   the same without an end, for the console at http://127.0.0.1:8077/console/
# make test   the whole test suite
# make package   wheel and sdist, built and tried as installed; needs a package index; two minutes
# make time-to-stop   from client.stop to the call, measured on this machine
# make simulate SEEDS=10000   many random runs under every fault; SEED=42: one, with its log
# make chaos   every fault on real processes, forty minutes; WRITE=1: the table to docs/
# make bench   Stopline and its peers side by side, an hour; WRITE=1: the figures to docs/
# make bench-gateway   what the HTTP gateway carries; three minutes, needs wrk
# make bench-console   the console on a million open requests; five minutes
# make bench-archive   outcomes into the archive, and queries over ten million of them; needs PostgreSQL
# make care    rules, guards and care for the API at full size; six minutes
# make bench-smoke   what a stop costs, counted, against what is stored; WRITE=1: stores it
# make budget   where the CPU of a stop goes, step by step; a minute
# make growth  a million requests in one batch, five minutes
# make check  formatting, lint, types, architecture
# make check-deploy   the Helm chart, the compose file and the Dockerfile; in an environment of its own
# make docs   docs/ as a site in site/, which needs no network; make reference: docs/reference/
# make map    the map of the source tree in docs/architecture.md
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo demo-console screenshots test package simulate chaos bench bench-gateway bench-console bench-archive care bench-smoke budget growth check check-deploy reference docs time-to-stop format map constraints clean

demo: $(INSTALLED)
	$(BIN)/stopline demo

PORT ?= 8077
demo-console: $(INSTALLED)
	$(BIN)/stopline demo --console --port $(PORT)

# The pictures in README and docs; needs Chromium.
screenshots: $(INSTALLED)
	$(BIN)/python -m tests.support.screenshots

test: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist worksteal

package: $(INSTALLED)
	$(BIN)/pytest -p no:xdist -m package tests/package

SEEDS ?= 1000
simulate: $(INSTALLED)
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

chaos: $(INSTALLED)
	$(BIN)/pytest -p no:xdist -m chaos tests/fault tests/e2e $(if $(WRITE),--write-table)

ROUNDS ?= 3
bench: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY)) $(if $(WRITE),--write)

bench-gateway: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.gateway --rounds $(ROUNDS)

bench-console: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.console

care: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.care $(ONLY)

ROWS ?= 10000000
bench-archive: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.archive $(ROWS)

bench-smoke: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.smoke $(if $(WRITE),--write)

budget: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.budget

COUNT ?= 1000000
growth: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.growth $(COUNT)

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typed
	$(BIN)/lint-imports

# What is in deploy/, the compose file and the Dockerfile; in an environment of its own.
CHECK_DEPLOY := $(VENV)-deploy
check-deploy: $(CHECK_DEPLOY)/.installed
	$(CHECK_DEPLOY)/bin/python deploy/check.py

$(CHECK_DEPLOY)/.installed: deploy/requirements-check.txt
	$(PYTHON) -m venv $(CHECK_DEPLOY)
	$(CHECK_DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check -r deploy/requirements-check.txt
	touch $(CHECK_DEPLOY)/.installed

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

map: $(INSTALLED)
	$(BIN)/python -m tests.support.source_map

reference: $(INSTALLED)
	$(BIN)/python -m tests.support.reference

# The site of docs/, with its search, for reading without a network; in an environment of its own.
DOCS := $(VENV)-docs
docs: $(DOCS)/.installed
	$(DOCS)/bin/mkdocs build --strict --quiet
	$(DOCS)/bin/python docs/site/check.py site

$(DOCS)/.installed: docs/site/requirements.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r docs/site/requirements.txt
	touch $(DOCS)/.installed

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Stopline needs Python 3.11 or later; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[worker,gateway,events,outcomes,test,check]'
	touch $(INSTALLED)

time-to-stop: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.time_to_stop

# Renews constraints.txt with the newest releases that pyproject.toml allows.
constraints:
	$(PYTHON) -m venv $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install --quiet '.[worker,gateway,events,outcomes,test,check]'
	{ head -1 constraints.txt; $(VENV)-constraints/bin/python -m pip freeze --exclude stopline; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf $(VENV)-constraints

clean:
	rm -rf $(VENV) $(VENV)-deploy $(VENV)-docs site .stopline .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
