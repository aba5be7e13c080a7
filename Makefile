# make tune | test | ui | lint. The first call makes .venv and installs everything that constraints.txt pins.
PYTHON ?= python3
BIN := .venv/bin
SEARCHES := tests/test_tune_every_method.py
LONG := tests/search/test_faults.py tests/search/test_kill.py tests/features/test_training.py \
	tests/methods/regen/test_real_sizes.py

.PHONY: help setup tune test long searches regen-world regen-demo ui lint clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 8

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[text,video,lora,dev]'
	@touch $@

setup: .venv/installed  ## make .venv and install

tune: setup  ## search SA-DVAE's hyperparameters on the simulated data set
	$(BIN)/python -m platform.tune methods.sadvae

test: setup  ## lint, then every test but those of `long` and `searches`
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	# one thread: those that wait for each other make tiny trainings slow; two processes: the slow tests mostly wait
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder \
		$(addprefix --ignore ,$(SEARCHES) $(LONG))

long: setup  ## the tests of a search's faults, of extractors' trainings, and of networks at their published sizes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder $(LONG)

searches: setup  ## the tests that search with every method through the command line
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 $(SEARCHES)

regen-world: setup  ## make ReGen's small simulated world in runs/regen-world: clips, sentences and models of them
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.regen_world runs/regen-world

regen-demo: setup  ## in three such worlds, ReGen with each set of rewards and its baselines: the table (two hours of one core)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.regen_demo runs/regen-demo

ui: setup  ## open MLflow on the default store
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/runs/mlflow.db

lint: setup  ## format and lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the environment and caches; runs/ and data/ stay
	rm -rf .venv .pytest_cache .ruff_cache *.egg-info
