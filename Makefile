# make demo   the sample pictures through the embedded models, in .venv (core only, no torch)
# make test   format, lint, types and tests, in .venv-dev
# make check  the same checks again, without looking at the environment first
# make fast   the tests without the slow ones, in about a minute
# make clean  removes both environments and all results

PYTHON ?= python3
DEMO_TEXT ?= red star. striped circle. heart. cat. dog. kite. fir tree. vehicle: car | bus | ambulance, bicycle. apple. strawberry. coffee cup. !skull

CORE := .venv
DEV := .venv-dev

.PHONY: demo test check fast format clean python

demo: $(CORE)/.installed
	$(CORE)/bin/perception segment demos/images --text "$(DEMO_TEXT)" --out perception-out

test: $(DEV)/.installed
	$(MAKE) --no-print-directory check

check:
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(DEV)/bin/python -m pytest -q

fast: $(DEV)/.installed
	$(DEV)/bin/python -m pytest -q -m "not slow and not wheel"

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

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is older or missing: name another one," \
	  "for example  make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }

clean:
	rm -rf $(CORE) $(DEV) .mypy_cache .pytest_cache .ruff_cache build dist perception-out
