# make demo   the sample pictures through the embedded models, in .venv (core only, no torch)
# make test   format, lint, types and tests, in .venv-dev
# make check  the same checks again, without looking at the environment first
# make fast   the tests without the slow ones, in about a minute
# make page   onnxruntime-web for the click page, by npm, so that clicks are answered in the page
# make wheel  dist/*.whl with the click page and its runtime, in .venv-build (build alone)
# make clean  removes the environments and all results

PYTHON ?= python3
DEMO_TEXT ?= red star. striped circle. heart. cat. dog. kite. fir tree. vehicle: car | bus | ambulance, bicycle. apple. strawberry. coffee cup. !skull

CORE := .venv
DEV := .venv-dev
BUILD := .venv-build
# Two files of tests at a time, each with one thread: networks this small gain little from more.
JOBS ?= 2
TESTS = OMP_NUM_THREADS=1 $(DEV)/bin/python -m pytest -q -n $(JOBS) --dist loadfile

.PHONY: demo test check fast page wheel format clean python

demo: $(CORE)/.installed
	$(CORE)/bin/perception segment demos/images --text "$(DEMO_TEXT)" --out perception-out

test: $(DEV)/.installed
	$(MAKE) --no-print-directory check

check:
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(TESTS)

fast: $(DEV)/.installed
	$(TESTS) -m "not slow and not wheel"

page:
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js, which brings it"; exit 1; }
	npm ci --prefix demos/click --no-audit --no-fund

wheel: page $(BUILD)/.installed
	$(BUILD)/bin/python -m build --wheel
	$(BUILD)/bin/python -c 'import glob, sys, zipfile; \
	  names = zipfile.ZipFile(max(glob.glob("dist/*.whl"))).namelist(); \
	  sys.exit(not any(name.endswith(".wasm") for name in names) and "the wheel lacks the runtime")'

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

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is older or missing: name another one," \
	  "for example  make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) can't make environments: install its venv module (Debian, Ubuntu:" \
	  "apt-get install python3-venv)"; exit 1; }

clean:
	rm -rf $(CORE) $(DEV) $(BUILD) demos/click/node_modules .mypy_cache .pytest_cache .ruff_cache build dist perception-out
