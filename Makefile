# Thin on purpose: each target makes the virtual environment and then calls what the README names.
PYTHON ?= python3
BIN := .venv/bin

# What is installed: the newest that pyproject.toml allows, for `make lab` only what students need;
# with LOCKED=1 what was tested, each file with its hash; with FLOORS=1 the lowest that pyproject.toml allows.
LOCK := .devcontainer/requirements.lock
FLOORS_LIST := .ci/floors.txt
ALL := .venv/$(if $(LOCKED),locked,$(if $(FLOORS),floors,installed))
LESSONS := $(if $(LOCKED)$(FLOORS),$(ALL),.venv/lessons)
# Begun anew if there is another kind.
OTHERS := $(filter-out $(ALL) $(LESSONS),.venv/lessons .venv/installed .venv/locked .venv/floors)
VENV = $(PYTHON) -m venv $(if $(wildcard $(OTHERS)),--clear) .venv

# On Linux, the package index has torch for CUDA: 3 GB more. Without an Nvidia card, take PyTorch's build for the CPU
# if its index answers within five seconds. `make lab CPU_INDEX=` leaves it alone.
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
ANSWERS = $(BIN)/python -c "import urllib.request as u; u.urlopen('$(CPU_INDEX)/torch/', timeout=5)" 2>/dev/null
define CPU_TORCH
	-@if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null && $(ANSWERS); then \
	  $(BIN)/python -m pip install torch torchvision --index-url $(CPU_INDEX); fi
endef

.PHONY: lab run test test-slow site test-browser test-bundle test-colab soak install lock clean

lab: $(LESSONS)
	$(BIN)/python -m course_utils lab

run: install
	$(BIN)/python -m course_teaching run

# On two slow, busy cores, the longest cell of a lesson takes more than 300 s. One that takes 900 s hangs.
test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist=loadfile -m "not kernels"
	$(BIN)/pytest -n 2 --dist=loadfile --nbval --nbval-cell-timeout=900 --ignore=notebooks/exercises notebooks

# What runs notebooks, large networks or several processes again: exercises, grading, sweeps, launchers, faults.
test-slow: install
	$(BIN)/pytest -n 2 --dist=loadfile -m kernels

# The web site, in build/site: needs no network once it is built.
site: .venv/site
	rm -rf build/site docs/api
	$(BIN)/sphinx-build -W --keep-going -q -E -c docs -d build/doctrees . build/site

.venv/site: $(ALL)
	$(if $(LOCKED),,$(BIN)/python -m pip install -e ".[site]")
	touch .venv/site

# The lessons in JupyterLab, and the site, by two real browsers. Without a Chromium all of it is skipped, and says so.
test-browser: .venv/browser site
	$(BIN)/pytest -ra -n 2 --dist=worksteal tests/browser

.venv/browser: .venv/site
	$(if $(LOCKED),,$(BIN)/python -m pip install -e ".[browser]")
	touch .venv/browser

# A copy for a classroom without a network, made and installed as the guide says: fetches about 500 MB, and takes some minutes.
test-bundle: install
	$(BIN)/pytest -ra tests/bundle

# The lessons in what can be had of Colab: downloads about 3 GB, which lie in build/colab, and takes a quarter of an hour.
test-colab: install
	$(BIN)/pytest -rA tests/colab

# Minutes of faults, on this machine only: see docs/faults.md.
soak: install
	$(BIN)/python benchmarks/soak.py

install: $(ALL)

# Installed again when a list of packages changes, and only then.
.venv/lessons: pyproject.toml
	$(VENV)
	$(CPU_TORCH)
	$(BIN)/python -m pip install -e .
	touch .venv/lessons

.venv/installed: requirements.txt pyproject.toml
	$(VENV)
	$(CPU_TORCH)
	$(BIN)/python -m pip install -r requirements.txt
	touch .venv/lessons .venv/installed

.venv/locked: $(LOCK)
	$(VENV)
	$(BIN)/python -m pip install --require-hashes -r $(LOCK)
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	touch .venv/locked

.venv/floors: $(FLOORS_LIST)
	$(VENV)
	$(BIN)/python -m pip install -r $(FLOORS_LIST)
	$(BIN)/python -m pip install --no-deps -e .
	touch .venv/floors

# For maintainers, after a change of pyproject.toml: what is installed here becomes the lock.
lock: install
	$(BIN)/python -m pip install uv
	$(BIN)/python .ci/lock.py $(LOCK) $(FLOORS_LIST)

clean:
	rm -rf .venv
