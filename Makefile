# make demo    installs clear_rt into .venv and removes the subtitles of a real clip
# make test    installs clear_rt for development into .venv-dev and runs every check, tests in WORKERS processes
# make lint    the style and type checks alone
# make clean   removes what the others made, the two environments included

PYTHON ?= python3
RUN_VENV ?= .venv
DEV_VENV ?= .venv-dev
DEMO ?= demo
WORKERS ?= 2

INSTALL = -m pip install --quiet --disable-pip-version-check
PACKAGE = pyproject.toml setup.py $(shell find -L clear_rt -type f -not -path '*/__pycache__/*' | sed 's/ /\\ /g')

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

demo: $(RUN_VENV)/installed
	@mkdir -p $(DEMO)
	$(RUN_VENV)/bin/clear-rt remove samples/city-subtitled.mp4 -o $(DEMO)/city.mp4 \
		--preview $(DEMO)/preview.png --compare $(DEMO)/compare.mp4
	@echo "result:                      $(abspath $(DEMO)/city.mp4)"
	@echo "source | map | result, PNG:  $(abspath $(DEMO)/preview.png)"
	@echo "source beside result, video: $(abspath $(DEMO)/compare.mp4)"

# Files stay whole, for what their tests share, and in the order of tests/conftest.py; one thread to a worker.
test: lint
	OMP_NUM_THREADS=1 $(DEV_VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(DEV_VENV)/installed
	$(DEV_VENV)/bin/ruff check .
	$(DEV_VENV)/bin/ruff format --check .
	$(DEV_VENV)/bin/mypy

# An environment counts as installed when this file is newer than what it was installed from.
$(RUN_VENV)/installed: $(PACKAGE)
	@$(call new_venv,$(RUN_VENV))
	$(RUN_VENV)/bin/python $(INSTALL) .
	@touch $@

$(DEV_VENV)/installed: pyproject.toml setup.py
	@$(call new_venv,$(DEV_VENV))
	$(DEV_VENV)/bin/python $(INSTALL) --editable '.[dev,train]'
	@touch $@

define new_venv
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "clear_rt needs Python 3.11 or newer; name one, as in: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }; \
test -x $(1)/bin/python || $(PYTHON) -m venv $(1) \
	|| { rm -rf $(1); echo "this Python cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
endef

clean:
	rm -rf $(RUN_VENV) $(DEV_VENV) $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
