# make demo   Label Studio with masks already drawn, on http://127.0.0.1:8080 (CHECK=1: headless, verified, then stopped)
# make test   everything CI runs: lint, types, floors, tests with a real Label Studio and a real browser
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
LABEL_STUDIO_VERSION := 1.23.2
VENV := .venv/bin
READY := .venv/.installed
DEV_READY := .venv/.installed-dev
LABEL_STUDIO_READY := .venv-label-studio/.installed-$(LABEL_STUDIO_VERSION)
LABEL_STUDIO_PREPARED := .venv-label-studio/.prepared-$(LABEL_STUDIO_VERSION)
LABEL_STUDIO_ML_VERSION := 1.0.9
LABEL_STUDIO_ML_READY := .venv-label-studio-ml/.installed-$(LABEL_STUDIO_ML_VERSION)

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(READY) $(LABEL_STUDIO_PREPARED) ## start Label Studio with pre-annotated microscope images; CHECK=1 verifies and stops
	$(VENV)/argenseg demo $(if $(filter-out 0,$(CHECK)),--check)

test: lint types floors pytest ## everything CI runs

lint: $(DEV_READY) ## ruff: lint and format
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .

types: $(DEV_READY) ## mypy, strict on labeling, worker and backend
	$(VENV)/mypy

floors: $(DEV_READY) ## import-linter: imports go down only
	$(VENV)/lint-imports

pytest: $(DEV_READY) $(LABEL_STUDIO_PREPARED) $(LABEL_STUDIO_ML_READY) browser ## all tests, the end-to-end ones last
	$(VENV)/python -m pytest

test-fast: $(DEV_READY) ## the tests that need no Label Studio and no browser
	$(VENV)/python -m pytest -m "not e2e and not faults"

test-faults: $(DEV_READY) $(LABEL_STUDIO_READY) ## the trials of docs/reliability.md that take minutes
	$(VENV)/python -m pytest -m faults

test-gpu: $(DEV_READY) ## what only a GPU can show, where there is one: parity, memory that runs out, fine-tuning
	$(VENV)/python -m pytest tests/gpu

docker-test: $(DEV_READY) $(LABEL_STUDIO_READY) ## the team's stack in containers, from the images to a restored backup
	$(VENV)/python -m tests.docker.check_stack

constraints: $(DEV_READY) ## pin in constraints.txt what is installed now: images, CI and `make` install these versions
	{ head -n 1 constraints.txt; $(VENV)/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//'; } > constraints.new
	mv constraints.new constraints.txt

# Chromium comes from the system (a test names itself as not run when it is missing; under CI=true that is a failure).
browser:
	@if command -v chromium chromium-browser google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium fonts-liberation; \
	else echo "Chromium is not installed: the browser tests will not run. Install the package 'chromium' to run them."; fi

$(READY): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; say which with: make PYTHON=/path/to/python3.11"; exit 1; }
	[ -x $(VENV)/python ] || "$(PYTHON)" -m venv .venv
	$(VENV)/python -m pip install --quiet --constraint constraints.txt --editable '.[worker,demo]'
	touch $@

$(DEV_READY): $(READY)
	$(VENV)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Label Studio pins an older rq and redis than we use, so it lives in an environment of its own.
$(LABEL_STUDIO_READY):
	[ -x .venv-label-studio/bin/python ] || "$(PYTHON)" -m venv .venv-label-studio
	.venv-label-studio/bin/python -m pip install --quiet 'label-studio==$(LABEL_STUDIO_VERSION)'
	touch $@

# Its empty database, which takes it a minute: each demo begins with a copy.
$(LABEL_STUDIO_PREPARED): $(LABEL_STUDIO_READY) | $(READY)
	$(VENV)/argenseg demo --prepare
	touch $@

# label-studio-ml pins Flask 1.1.2: without its dependencies, in an environment of its own that sees ours too.
$(LABEL_STUDIO_ML_READY): $(READY)
	[ -x .venv-label-studio-ml/bin/python ] || $(VENV)/python -m venv .venv-label-studio-ml
	.venv-label-studio-ml/bin/python -m pip install --quiet --no-deps \
	  'label-studio-ml==$(LABEL_STUDIO_ML_VERSION)' label-studio-tools==0.0.4 appdirs colorama xmljson
	ours="$$($(VENV)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
	theirs="$$(.venv-label-studio-ml/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
	echo "import site; site.addsitedir('$$ours')" > "$$theirs/argenseg.pth"
	touch $@

docs: $(DEV_READY) ## the documents as a site, in site/; a broken link is a failure
	NO_MKDOCS_2_WARNING=1 $(VENV)/mkdocs build --strict

dist: $(READY) ## a wheel with the starter in it, into dist/ (docs/operations.md: without a network)
	rm -rf build dist
	$(VENV)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	rm -rf build *.egg-info
	@ls -sh dist

release: $(READY) ## VERSION=0.2.0: that version everywhere, CHANGELOG closed, one commit, one tag; pushes and uploads nothing
	$(VENV)/python -m recipes.release "$(VERSION)"

bench: $(READY) ## the quick benchmarks: ratios of one run (benchmarks/README.md)
	PYTHONPATH=. OMP_NUM_THREADS=1 $(VENV)/python -m benchmarks.official_way --turns 1
	PYTHONPATH=. $(VENV)/python benchmarks/busy_neighbour.py --turns 1
	PYTHONPATH=. OMP_NUM_THREADS=1 $(VENV)/python benchmarks/brush_rle.py

clean: ## remove the demo's data and the caches (the environments stay)
	rm -rf .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist site *.egg-info

.PHONY: help demo test lint types floors pytest test-fast test-faults test-gpu docker-test constraints browser docs dist release bench clean
