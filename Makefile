# make app: install what is needed and open the app. make test: install and run every test.
.PHONY: app test lint lock audit licences sbom screenshots clean

# The first Python from 3.11 to 3.13 that really runs.
CHECK := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
FIND_PYTHON = for python in python3.12 python3.11 python3.13 python3 python; do \
	if $$python -c '$(CHECK)' 2>/dev/null; then echo $$python; exit; fi; done
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
# uv installs several times as fast as pip, and does not read pip's settings, which some networks need.
INSTALL = .venv/bin/uv pip install --quiet --compile-bytecode --require-hashes --python .venv/bin/python -r $< \
	|| $(PIP) --require-hashes -r $<

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

# Three locks of one resolution, for every Python from 3.11 and every system: all, the app, the app that cannot train.
LOCK = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
lock: | .venv/bin/python
	$(LOCK) --output-file constraints.txt requirements-dev.in
	$(LOCK) --constraints constraints.txt --output-file requirements.txt requirements.in
	grep -v '^tensor\|^tf-keras\|^efficientnet' requirements.in \
		| $(LOCK) --constraints constraints.txt --output-file requirements-predict.txt -

# Known weaknesses of what is locked, from the database of osv.dev, which must be reachable.
audit: | .venv/bin/python
	.venv/bin/uv tool run --from pip-audit==2.10.1 pip-audit --vulnerability-service osv --require-hashes \
		--disable-pip -r constraints.txt

licences: .venv/dev-installed
	.venv/bin/python -m docs.licences

# What is installed, as CycloneDX tells it.
sbom: .venv/app-installed
	.venv/bin/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py environment --pyproject pyproject.toml \
		--mc-type application --output-reproducible --output-file sbom.json .venv/bin/python

screenshots: .venv/dev-installed
	.venv/bin/python -m docs.screenshots

clean:
	rm -rf .venv

.venv/bin/python:
	@python=$$($(FIND_PYTHON)); if [ -z "$$python" ]; then \
		echo "Covid CNN needs Python 3.11, 3.12 or 3.13: install one of them and run make again."; exit 1; fi; \
	echo "Making the virtual environment with $$python."; $$python -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > .venv/uv.txt && $(PIP) --require-hashes -r .venv/uv.txt

.venv/app-installed: requirements.txt | .venv/bin/python
	@echo "Installing what the app needs (about 3 GB, a minute or more the first time)."
	@$(INSTALL)
	@touch $@

.venv/dev-installed: constraints.txt | .venv/bin/python
	@echo "Installing what the tests need (about 4 GB, a minute or more the first time)."
	@$(INSTALL)
	@touch $@ .venv/app-installed
