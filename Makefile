# `make up`   installs what is missing and brings the cloud up      `make test`  runs everything that CI runs
# `make help` says the rest

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STATE  ?= /var/lib/holdfast

.PHONY: help up down destroy install packages test check format tests stories sim crashes blackbox bench lock clean

help:
	@sed -n 's/^# \?//p' Makefile | head -3
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

up: install  ## install what is missing, then bring the cloud up
	$(BIN)/holdfast --state $(STATE) up

down:  ## stop the cloud, keep everything
	$(BIN)/holdfast --state $(STATE) down

destroy:  ## remove every trace of the cloud
	$(BIN)/holdfast --state $(STATE) destroy --yes

install: $(VENV)/installed  ## distribution packages and virtual environment
	@$(BIN)/python -m holdfast.host.imagebuild fetch --cache /var/cache/holdfast

packages:
	@PYTHON=$(PYTHON) ./tools/packages runtime

$(VENV)/installed: requirements.lock pyproject.toml | packages
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed requirements-test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.lock
	@touch $@

test: $(VENV)/installed-test  ## everything that CI runs
	@PYTHON=$(PYTHON) ./tools/packages test
	$(MAKE) --no-print-directory check
	$(MAKE) --no-print-directory tests stories

check: $(VENV)/installed-test  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(VENV)/installed-test  ## tests without guests, three at once: some only wait; their files in memory if it has room
	@memory=$$(df --output=avail --block-size=1G /dev/shm 2>/dev/null | tail -1); \
	room=$$(mktemp -d -p $$(test "$${memory:-0}" -ge 4 && echo /dev/shm || echo /tmp) holdfast-tests.XXXXXX) && \
	trap "rm -rf $$room" EXIT && chmod 711 $$room && \
	$(BIN)/python -m pytest -m "not qemu" -n 3 --dist worksteal --basetemp=$$room/pytest tests

stories: $(VENV)/installed-test  ## tests that boot real guests, three files at once
	$(BIN)/python -m pytest -m qemu -n 3 --dist loadfile tests

sim: $(VENV)/installed-test  ## simulate faults: SEEDS=10000, FROM=501, or SEED=123 to replay one
	$(BIN)/python -m tests.sim $(if $(SEED),--seed $(SEED),--first $(or $(FROM),1) --seeds $(or $(SEEDS),500))

crashes: $(VENV)/installed-test  ## crash tests that kill before each SQL statement and system call, not at some only
	HOLDFAST_TEST_STATEMENTS=1 $(BIN)/python -m pytest -n 3 -k "killed_at_any_point or killed_at_every" tests/control tests/host

blackbox: $(VENV)/installed-test  ## real processes and faults: WHAT=evacuations, power-cuts, deletes or clocks, COUNT=500, SEED=1
	$(BIN)/python -m tests.blackbox $(or $(WHAT),evacuations) $(or $(COUNT),500) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/installed  ## measure; results as JSON in bench/results
	$(BIN)/python -m bench

format: $(VENV)/installed-test  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## compile the lock files anew: hashes, and no address of a registry
	$(PYTHON) -m pip install --quiet uv
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml requirements-build.in -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra test pyproject.toml requirements-build.in -c requirements.lock -o requirements-test.lock

clean:  ## remove what building made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache
