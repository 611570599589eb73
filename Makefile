# Common commands. PYTHON chooses the interpreter: make train PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
TEAM := .venv-team
RUN := $(VENV)/bin/python
PYTEST := $(RUN) -m pytest -n 3 --dist loadfile --no-loadscope-reorder
# What make test-all tests besides; "wheel" is more.
EXTRAS ?= ray spark team
ifeq ($(filter test,$(MAKECMDGOALS)) $(origin EXTRAS),test command line)
$(error EXTRAS: '$(EXTRAS)' is not allowed with make test; allowed: with make test-all)
endif

.PHONY: help train resume unfinished evaluate serve ui team team-stop check test test-all lint unit quick old-stores refusals faults team-faults predict-faults search-faults serve-faults tidy-faults bench bench-accuracy bench-quick bench-growth bench-commands docs notebooks wheel format lock clean
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 24

train: $(VENV)/ready ## set up the environment, train with patience 3, evaluate
	@$(RUN) src/train.py --patience 3 --evaluate true
	@echo 'to see the runs:  make ui'

resume: $(VENV)/ready ## resume the newest unfinished training
	@$(RUN) src/train.py --resume latest

unfinished: $(VENV)/ready ## list unfinished trainings
	@$(RUN) src/unfinished.py

evaluate: $(VENV)/ready ## evaluate the newest candidate
	@$(RUN) src/evaluate.py

serve: $(VENV)/ready ## serve the newest candidate at http://127.0.0.1:5050
	@$(RUN) src/serve.py --model models:/imdb-conv1d@candidate

ui: $(VENV)/ready ## start the MLflow UI on this folder's runs
	@echo 'the runs: http://127.0.0.1:5000/#/experiments/0/runs?workflowType=machine_learning'
	@MLFLOW_DISABLE_TELEMETRY=true $(VENV)/bin/mlflow ui --port 5000

team: $(TEAM)/ready ## start a team's server to try: MLflow with users on PostgreSQL and S3
	@$(RUN) tools/team.py start

team-stop: $(VENV)/ready ## end it and remove its runs
	@$(RUN) tools/team.py stop

check: $(VENV)/ready-dev ## before every commit, in a minute and a half: lint, run the unit tests
	@$(MAKE) -s -j2 lint unit

test: $(VENV)/ready-dev ## lint, run the tests that are not slow, in eight minutes; SYSTEM=install: root installs Chromium for one of them
ifeq ($(SYSTEM),install)
	@sh tools/chromium.sh
endif
	@$(MAKE) -s -j2 lint quick

test-all: $(VENV)/ready-dev $(if $(filter ray,$(EXTRAS)),$(VENV)/ready-ray) $(if $(filter spark,$(EXTRAS)),$(VENV)/ready-spark) $(if $(filter team,$(EXTRAS)),$(TEAM)/ready) lint ## lint, run all tests, with Ray, Spark and a team's server, an hour; SYSTEM=install: root installs Chromium, PostgreSQL and Java for them; EXTRAS="team wheel": other extras than Ray, Spark and the server
ifeq ($(SYSTEM),install)
	@sh tools/chromium.sh
	@sh tools/postgresql.sh
	@$(if $(filter spark,$(EXTRAS)),sh tools/java.sh)
endif
	@EXTRAS="$(EXTRAS)" EXAMPLES=$(or $(EXAMPLES),all) $(PYTEST)

lint: $(VENV)/ready-dev ## check style, types, import contracts and the lines of code
	@$(VENV)/bin/ruff check src examples tests tools bench notebooks
	@$(VENV)/bin/ruff format --check src examples tests tools bench notebooks
	@$(VENV)/bin/mypy
	@cd src && ../$(VENV)/bin/lint-imports ../pyproject.toml
	@$(RUN) tools/size.py

unit: $(VENV)/ready-dev
	@$(RUN) -m pytest -n 2 -q -m "unit and not slow" --timeout 60

quick: $(VENV)/ready-dev
	@EXTRAS= $(PYTEST) -m "not slow" --timeout 60

old-stores: $(VENV)/ready-dev ## go on from what version 0.14.0 and those before it have left, and compare to the bit: twelve minutes
	@$(RUN) tools/old_stores.py check

refusals: $(VENV)/ready-dev ## write the refusals of today's code into their table; a difference is read in git diff
	@$(RUN) tools/refusals.py --write

faults: $(VENV)/ready-dev ## kill and resume trainings 300 times, and compare them: half an hour
	@$(RUN) tools/faults.py --table bench/out/faults.md

team-faults: $(VENV)/ready-dev $(TEAM)/ready ## let a team's servers fail while trainings run, and kill 50 trainings on them: half an hour
	@$(RUN) tools/team_faults.py
	@$(RUN) tools/faults.py --team --experiment diabetes --random 26 --each 1 --scenarios 2

predict-faults: $(VENV)/ready-dev ## kill and resume predictions at each named point and 100 times at random: three minutes
	@$(RUN) tools/predict_faults.py

search-faults: $(VENV)/ready-dev ## kill and resume a search 50 times, and compare it with an uninterrupted one: half an hour
	@$(RUN) tools/search_faults.py --table bench/out/search-faults.md

serve-faults: $(VENV)/ready-dev ## load an endpoint for ten minutes with kills, reloads and rude clients, and compare each answer
	@$(RUN) tools/serve_faults.py

tidy-faults: $(VENV)/ready-dev ## kill tidies of a made-up store 30 times, and compare what is left: half an hour
	@$(RUN) tools/tidy_faults.py

bench: $(VENV)/ready-dev ## time an epoch against other implementations, and profile it: 25 minutes
	@for part in peers short step tracking snapshots replays; do $(RUN) bench/$$part.py || exit; done

bench-accuracy: $(VENV)/ready-dev ## compare the best val_loss of the implementations by seed: 12 minutes
	@$(RUN) bench/accuracy.py

bench-quick: $(VENV)/ready-dev ## compare this tree with a commit, as in make bench-quick REF=main: start, epochs, end, memory; five minutes
	@$(RUN) bench/quick.py $(or $(REF),HEAD)

bench-growth: $(VENV)/ready-dev ## measure how time and memory of each command grow; PARTS="runs epochs" for some: 40 minutes
	@$(RUN) bench/growth.py $(PARTS)

bench-commands: $(VENV)/ready-dev ## time whole commands, from start to end, beside a plain Keras script: half an hour
	@$(RUN) bench/commands.py

docs: $(VENV)/ready ## generate the pages of docs/ that follow from the code
	@$(RUN) tools/make_docs.py

notebooks: $(VENV)/ready-dev ## execute the notebooks in place, on trainings made for them: minutes
	@$(RUN) tools/make_notebooks.py

wheel: $(VENV)/ready ## build the package tracked into dist/
	@rm -rf build src/*.egg-info
	@$(VENV)/bin/uv build -q --wheel --out-dir dist
	@rm -rf build src/*.egg-info
	@ls dist/*.whl

format: $(VENV)/ready-dev ## format the code and fix lint
	@$(VENV)/bin/ruff format src examples tests tools bench notebooks
	@$(VENV)/bin/ruff check --fix src examples tests tools bench notebooks

lock: $(VENV)/ready ## pin all packages from the five .in files
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-header requirements.in -o requirements.txt
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-header requirements-dev.in -o requirements-dev.txt
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-header requirements-ray.in -o requirements-ray.txt
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-header requirements-spark.in -o requirements-spark.txt
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-header requirements-team.in -o requirements-team.txt

clean: ## remove the environment, caches and builds; runs and models stay
	@rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis src/.import_linter_cache

$(VENV)/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "error: PYTHON: " + sys.version.split()[0] + " is not allowed; allowed: Python 3.11 to 3.13, as in: make train PYTHON=python3.12")'
	@echo 'installing the environment in $(VENV) (TensorFlow is large: minutes the first time, seconds from a cache)'
	@$(RUN) -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@$(RUN) -m pip install -q --disable-pip-version-check "$$(grep '^uv==' requirements.txt)"
	@$(VENV)/bin/uv pip install --python $(RUN) -r requirements.txt
	@echo 'compiling what a training imports (uv leaves that to each import, in vain where PYTHONDONTWRITEBYTECODE is set)'
	@for names in mlflow.store.tracking.sqlalchemy_store tensorflow,keras; do PYTHONDONTWRITEBYTECODE= $(RUN) -c "import $$names" 2>/dev/null & done; wait
	@$(RUN) -m compileall -q src
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt
	@$(VENV)/bin/uv pip install --compile-bytecode --python $(RUN) -r requirements-dev.txt
	@touch $@

$(VENV)/ready-ray: $(VENV)/ready requirements-ray.txt
	@$(VENV)/bin/uv pip install --compile-bytecode --python $(RUN) -r requirements-ray.txt
	@touch $@

$(VENV)/ready-spark: $(VENV)/ready requirements-spark.txt
	@$(VENV)/bin/uv pip install --compile-bytecode --python $(RUN) -r requirements-spark.txt
	@touch $@

$(TEAM)/ready: $(VENV)/ready requirements-team.txt
	@$(VENV)/bin/uv venv -q --allow-existing --python $(RUN) $(TEAM)
	@$(VENV)/bin/uv pip install --compile-bytecode --python $(TEAM)/bin/python -r requirements-team.txt
	@touch $@
