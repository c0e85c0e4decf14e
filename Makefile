# Each target sets up what it needs in .venv and then does its one job.
#   make lab     opens the course in JupyterLab            make lab ARGS='--lang zh'
#   make test    runs every test                           make test PYTEST='-k settings'
#   make test-latest   runs them with the newest of everything, not with what constraints.txt says
#   make docs    builds the site into docs/_build/html, and one zip of it
#   make outputs renews the notebooks' stored outputs      make outputs NB='06 demos/mixup'
#   make screenshots   takes the README's pictures from the built site
#   make bench   measures what the README says of speed
#   make constraints   renews the tested versions
SHELL  := bash
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CONSTRAINTS ?= -c constraints.txt
export UV_LINK_MODE ?= hardlink
export UV_SYSTEM_CERTS ?= true
# Containers often keep Python from storing what it compiles: each process would compile torch and fastai anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: lab test test-latest docs outputs screenshots bench constraints clean
.DELETE_ON_ERROR:

lab: $(VENV)/.ready
	@$(BIN)/sotalearn lab $(ARGS)

# The notebooks run small here: one epoch, a part of the pictures, all that they write thrown away. The chapters run in tests/test_chapters.py.
test: $(VENV)/.ready-dev chromium
	@$(BIN)/sotalearn data toynette
	results=$$(mktemp -d) && trap 'rm -rf "$$results"' EXIT && $(BIN)/python tests/part.py $$results/data && \
	FASTAI_HOME=$$results \
	SOTALEARN_DATASET=toynette SOTALEARN_EPOCHS=1 SOTALEARN_SIZE=32 SOTALEARN_TRAIN_IMAGES=200 \
	SOTALEARN_RESULTS=$$results/runs.csv OMP_NUM_THREADS=1 $(BIN)/nbdev-test --timing --path-re 'nbs/(demos|questions|tools)/'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(PYTEST)

# What constraints.txt pins may hide that a newer release breaks the course. PYTHON=python3.13 tries another Python.
test-latest:
	@$(MAKE) test VENV=.venv-latest CONSTRAINTS=

docs: $(VENV)/.ready-docs
	@$(BIN)/python docs/build.py

outputs: $(VENV)/.ready-dev chromium
	@$(BIN)/python docs/outputs.py $(NB)

screenshots: $(VENV)/.ready-dev chromium
	@$(BIN)/python docs/build.py && $(BIN)/python docs/screenshots.py

bench: $(VENV)/.ready-dev
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

constraints: $(VENV)/.ready-dev
	{ head -1 constraints.txt; $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-annotate --no-header \
	  --no-emit-index-url --extra dev pyproject.toml; } > .constraints && mv .constraints constraints.txt

clean:
	rm -rf .venv .venv-latest build dist *.egg-info .pytest_cache docs/_build

# uv reads constraints.txt as pip does and installs in a quarter of the time; where it fails, pip does the work.
define install
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(CONSTRAINTS) -e '$(1)' \
	  || $(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e '$(1)'
	@touch $@
endef

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	  sys.exit(sys.version_info < (3, 11) and f"sotalearn needs Python 3.11 or newer; $(PYTHON) is {v}. Try: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.ready: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing the course into $(VENV): half a minute to five minutes, once.'
	$(call install,.)

$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing the course and its test tools into $(VENV).'
	$(call install,.[dev])
	@touch $(VENV)/.ready $(VENV)/.ready-docs

$(VENV)/.ready-docs: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing the course and the tools of its site into $(VENV).'
	$(call install,.[docs])
	@touch $(VENV)/.ready

# The browser tests need a browser and fonts. Without root they say so and are skipped.
# Debian's shell of Chromium shows no window: it is a sixth faster. Where there is none, Chromium itself serves.
.PHONY: chromium
chromium:
	@chinese() { fc-list 2>/dev/null | grep -qi 'noto.*cjk'; }; \
	get() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	  $$1 fonts-dejavu-core fonts-noto-cjk fontconfig >/dev/null; }; \
	if command -v chromium-headless-shell >/dev/null && chinese; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=10 && { get chromium-headless-shell 2>/dev/null || get chromium; } \
	  || { command -v chromium >/dev/null && chinese; }; \
	elif command -v chromium >/dev/null && chinese; then :; \
	else echo 'No Chromium with a Chinese font here: the browser tests will be skipped. (Debian: apt install chromium fonts-noto-cjk)'; fi
