# make demo   the sample pictures through the embedded models, in .venv (core only, no torch)
# make test   format, lint, types and tests, in .venv-dev
# make check  the same checks again, without looking at the environment first
# make slow   full-size parity and long fuzzing, which make test leaves out
# make fast   the tests without the slow ones, in about a minute
# make page   onnxruntime-web for the click page, by npm, so that clicks are answered in the page
# make wheel  dist/*.whl with the click page and its runtime, in .venv-build (build alone)
# make docs   the documentation as a site in site/, in .venv-docs; a broken link fails
# make clean  removes the environments and all results

PYTHON ?= python3
DEMO_TEXT ?= red star. striped circle. heart. cat. dog. kite. fir tree. vehicle: car | bus | ambulance, bicycle. apple. strawberry. coffee cup. !skull

CORE := .venv
DEV := .venv-dev
BUILD := .venv-build
DOCS := .venv-docs
# Two files of tests at a time, each with one thread: networks this small gain little from more.
JOBS ?= 2
TESTS = OMP_NUM_THREADS=1 $(DEV)/bin/python -m pytest -q -n $(JOBS) --dist loadfile

.PHONY: demo test check slow fast page wheel docs format clean python

demo: $(CORE)/.installed
	$(CORE)/bin/perception segment demos/images --text "$(DEMO_TEXT)" --out perception-out

test: $(DEV)/.installed
	$(MAKE) --no-print-directory check

check:
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(TESTS) -m "not full"

slow: $(DEV)/.installed
	$(TESTS) -m full

fast: $(DEV)/.installed
	$(TESTS) -m "not slow and not wheel and not full"

page:
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js, which brings it"; exit 1; }
	npm ci --prefix demos/click --no-audit --no-fund

wheel: page $(BUILD)/.installed
	$(BUILD)/bin/python -m build --wheel
	$(BUILD)/bin/python -c 'import glob, sys, zipfile; \
	  names = zipfile.ZipFile(max(glob.glob("dist/*.whl"))).namelist(); \
	  sys.exit(not any(name.endswith(".wasm") for name in names) and "the wheel lacks the runtime")'

# The pages lie in build/docs as in the repository, with the README as the first one.
docs: $(DOCS)/.installed
	rm -rf build/docs site
	mkdir -p build/docs/docs build/docs/demos build/docs/weights
	cp CHANGELOG.md CITATION.cff CONTRIBUTING.md LICENSE SECURITY.md build/docs/
	cp README.md build/docs/index.md
	cp docs/*.md docs/*.svg build/docs/docs/
	cp demos/*.jpg build/docs/demos/
	cp weights/MODEL_CARD.md weights/manifest.toml build/docs/weights/
	$(DOCS)/bin/zensical build --clean --strict

format: $(DEV)/.installed
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

# The stamps are written last: an installation that breaks off is begun anew.
$(CORE)/.installed: pyproject.toml | python
	rm -rf $(CORE)
	$(PYTHON) -m venv $(CORE)
	$(CORE)/bin/python -m pip install --quiet --editable .
	touch $@

# One call for everything, so that torch and torchvision are chosen to fit each other.
$(DEV)/.installed: pyproject.toml | python
	rm -rf $(DEV)
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@

# Building needs no more than this: hatchling comes into an environment of its own.
$(BUILD)/.installed: | python
	rm -rf $(BUILD)
	$(PYTHON) -m venv $(BUILD)
	$(BUILD)/bin/python -m pip install --quiet 'build>=1.2'
	touch $@

# The extra alone: the reference is made from the sources, without installing or importing them.
$(DOCS)/.installed: pyproject.toml | python
	rm -rf $(DOCS)
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -c 'import tomllib; \
	  project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*project["optional-dependencies"]["docs"], sep="\n")' > $(DOCS)/requirements.txt
	$(DOCS)/bin/python -m pip install --quiet --requirement $(DOCS)/requirements.txt
	touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is older or missing: name another one," \
	  "for example  make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) can't make environments: install its venv module (Debian, Ubuntu:" \
	  "apt-get install python3-venv)"; exit 1; }

clean:
	rm -rf $(CORE) $(DEV) $(BUILD) $(DOCS) demos/click/node_modules .mypy_cache .pytest_cache .ruff_cache build dist site perception-out
