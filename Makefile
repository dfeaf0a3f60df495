# Two commands: `make demo` trains five small models and sets them side by side, `make test` lints and tests.
# Either creates the environment when it is missing.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Without a GPU, TensorFlow reports at length that it found none.
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Scripts that import Keras before genmodels load TensorFlow without this.
export TF_ENABLE_ONEDNN_OPTS ?= 1

CHROMIUM ?= chromium

.PHONY: demo test browser-test lint clean

demo: $(VENV)/.installed
	$(PY) recipes/five_families.py

test: $(VENV)/.installed lint
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What a browser shows of the pages that genmodels writes.
browser-test: $(VENV)/.installed
	@command -v $(CHROMIUM) > /dev/null || { \
		echo "browser-test needs Chromium and found no '$(CHROMIUM)'; install it, or say CHROMIUM=…" >&2; exit 1; }
	CHROMIUM=$(CHROMIUM) $(PY) -m pytest tests/browser

lint: $(VENV)/.installed
	$(PY) -m ruff check .

$(VENV)/.installed: requirements.txt setup.py
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and 'genmodels needs Python 3.11, 3.12 or 3.13')"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e . \
		--config-settings editable_mode=compat
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
