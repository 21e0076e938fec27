# make app: install what is needed and open the app. make test: install and run every test.
.PHONY: app test lint lock screenshots clean

# The first Python from 3.11 to 3.13 that really runs.
CHECK := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
FIND_PYTHON = for python in python3.12 python3.11 python3.13 python3 python; do \
	if $$python -c '$(CHECK)' 2>/dev/null; then echo $$python; exit; fi; done
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
# uv installs several times as fast as pip, and does not read pip's settings, which some networks need.
INSTALL = .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python -r $< || $(PIP) -r $<

app: .venv/app-installed
	@.venv/bin/python -m covid_cnn app

test: .venv/dev-installed
	.venv/bin/python -m pytest

lint: .venv/dev-installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/vulture

lock: .venv/dev-installed
	cat requirements.txt requirements-dev.txt | grep -v '^-' | .venv/bin/uv pip compile --quiet --universal \
		--python-version 3.11 --no-annotate --no-header --output-file constraints.txt -

screenshots: .venv/dev-installed
	.venv/bin/python -m docs.screenshots

clean:
	rm -rf .venv

.venv/bin/python:
	@python=$$($(FIND_PYTHON)); if [ -z "$$python" ]; then \
		echo "Covid CNN needs Python 3.11, 3.12 or 3.13: install one of them and run make again."; exit 1; fi; \
	echo "Making the virtual environment with $$python."; $$python -m venv .venv
	@$(PIP) uv

.venv/app-installed: requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing what the app needs (about 2 GB, a minute or more the first time)."
	@$(INSTALL)
	@touch $@

.venv/dev-installed: requirements-dev.txt requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing what the tests need (about 2 GB, a minute or more the first time)."
	@$(INSTALL)
	@touch $@ .venv/app-installed
