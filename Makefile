# make demo   a first run on the sample data          make test   the whole test suite
PYTHON ?= python3
BIN := .venv/bin
# Hundreds of processes start in the tests: compiled once, not once a process, also where an image turns that off.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-extras browser test-install torture bench bench-quick docs lint clean

.venv/installed: pyproject.toml constraints.txt
	@echo "installing into .venv (a minute or two)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: .venv/installed
	@PREFECT_PROFILE=ephemeral $(BIN)/dqpipe run sample_data/pipeline.yaml --flow --force
	@$(BIN)/python sample_data/score.py out

# Servers, schedules, clusters and kills come by themselves, two files at once; all others share the cores.
ALONE := tests/torture tests/flows tests/execution
test: .venv/installed
	@$(BIN)/python -m pytest -q -n logical --maxprocesses 8 --max-worker-restart 0 --dist loadfile $(addprefix --ignore=,$(ALONE))
	@$(BIN)/python -m pytest -q -n 2 --max-worker-restart 0 --dist loadfile $(ALONE)

# A browser for the tests of the pages: Debian's, where there is none and it can be had; without it those tests are skipped.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update >/dev/null 2>&1 \
	    && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null 2>&1; } \
	  || echo "no browser is installed (as root on Debian: apt-get install chromium): the tests of the pages are skipped"

# The built wheel in an empty environment, everything installed by pip, without the constraints.
test-install: .venv/installed
	@$(BIN)/python -m pytest -q tests/install --full-install

# The embedders and the hand-over beside the libraries whose results they must equal, in an environment that has those on top of ours.
.venv-extras/installed: .venv/installed tests/extras.txt
	@$(PYTHON) -m venv .venv-extras
	@$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(' + repr(sysconfig.get_path('purelib')) + ')')" > "$$(.venv-extras/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dqpipe.pth"
	@.venv-extras/bin/pip install -qq --disable-pip-version-check --no-deps -r tests/extras.txt
	@touch $@

test-extras: .venv-extras/installed
	@.venv-extras/bin/python -m pytest -q tests/plugins/test_backbones.py tests/test_handover.py -k "backbones or label_studios_own"

# Runs killed at twenty moments of each kind, full disks, a server that dies: the short version of it is in the test suite.
torture: .venv/installed
	@DQPIPE_TORTURE=20 $(BIN)/python -m pytest -q tests/torture

# dqpipe beside the tools people use today, in an environment that has theirs on top of ours (RESULTS.md; TOPICS="label_errors outliers").
.venv-peers/installed: .venv/installed tests/benchmarks/peers.txt
	@$(PYTHON) -m venv .venv-peers
	@$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(' + repr(sysconfig.get_path('purelib')) + ')')" > "$$(.venv-peers/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dqpipe.pth"
	@.venv-peers/bin/pip install -qq --disable-pip-version-check -r tests/benchmarks/peers.txt
	@touch $@

bench: .venv-peers/installed
	@$(BIN)/python -m tests.benchmarks $(TOPICS)

bench-quick: .venv-peers/installed
	@$(BIN)/python -m tests.benchmarks --quick $(TOPICS)

# The documentation as pages in site/, with the reference made from the code; a broken link is an error.
docs: .venv/installed
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

lint: .venv/installed
	@$(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

clean:
	rm -rf .venv .venv-extras .venv-peers out dist build site
