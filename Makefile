# Two commands set up everything they need: `make demo` and `make test`.
# PYTHON=python3.12 chooses the interpreter; VENV=… the virtual environment.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
EXAMPLE := examples/pydoc-assistant
# Tests and benchmarks start hundreds of processes: where compiled files may not be kept, each compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-down test test-thorough lint coverage bench bench-gateway bench-masking bench-store bench-canary bench-rollout bench-autoscale bench-factory bench-tune bench-decode drills lock clean
.DELETE_ON_ERROR:

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The virtual environment is made anew when the project file or the lock is newer than its stamp.
$(BIN)/.ready: pyproject.toml requirements.lock torch.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Guideway needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 …"; exit 5; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --no-deps -r requirements.lock
	$(PIP) -r torch.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: $(BIN)/.ready  ## From data to a served token: train, judge, seal, serve, refuse, roll back
	$(BIN)/python $(EXAMPLE)/demo.py

demo-down: $(BIN)/.ready  ## Stop what the demo left running
	cd .demo/pydoc-assistant && ../../$(BIN)/guideway down

DATA := $(if $(GUIDEWAY_TEST_DATA),, and not data)
test: $(BIN)/.ready lint  ## All checks and the tests of a change; own state and ports, real servers on loopback
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not thorough$(DATA)"
	@echo "the tests above that were deselected take long, kill processes at every point, or read outside data: make test-thorough, GUIDEWAY_TEST_DATA"
	@$(if $(GUIDEWAY_TEST_DATA),true,echo "GUIDEWAY_TEST_DATA is not set: $$($(BIN)/python -m pytest -q --collect-only -m data 2>/dev/null | grep -c '::') tests on outside data were left out")

test-thorough: $(BIN)/.ready  ## The tests that `make test` leaves out: real processes that are killed, faults at every point, long ways
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "thorough$(DATA)"

lint: $(BIN)/.ready  ## Style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache 2>&1 | tail -n 4

coverage: $(BIN)/.ready  ## Which lines the tests run
	$(BIN)/coverage run -m pytest -q -n 2 --dist loadfile $(if $(GUIDEWAY_TEST_DATA),,-m "not data")
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

bench: $(BIN)/.ready  ## Measure the spine; writes benchmarks/results/spine.json
	$(BIN)/python benchmarks/spine.py

bench-masking: $(BIN)/.ready  ## Measure masking: speed and quality; writes benchmarks/results/masking.json
	$(BIN)/python benchmarks/masking.py

bench-tune: $(BIN)/.ready  ## Measure what a search spends outside of training (seven minutes); writes benchmarks/results/tune.json
	nice -n 10 $(BIN)/python benchmarks/tune.py

bench-store: $(BIN)/.ready  ## Measure store, seal, verify, assess and ledger; writes benchmarks/results/store.json
	$(BIN)/python benchmarks/store.py

bench-canary: $(BIN)/.ready  ## Simulate thousands of rollouts against other rules (half an hour, one process); writes results/canary.json
	nice -n 10 $(BIN)/python benchmarks/canary.py

bench-rollout: $(BIN)/.ready  ## Leave bad releases and kill controllers on real parts (twenty minutes); SEEDS=20 kills more often; writes results/rollout.json
	$(BIN)/python benchmarks/rollout.py $(if $(SEEDS),--seeds $(SEEDS))

bench-gateway: $(BIN)/.ready  ## Measure the gateway against HAProxy and others; PEERS=1 installs more, MILLION=1 takes longer
	$(BIN)/python benchmarks/gateway.py $(if $(PEERS),--peers) $(if $(MILLION),--million)

bench-autoscale: $(BIN)/.ready  ## Replay real traces through the autoscaler, by simulation (ten minutes); needs GUIDEWAY_TEST_DATA
	nice -n 15 $(BIN)/python benchmarks/autoscale.py

bench-decode: $(BIN)/.ready  ## Measure decoding beside transformers serve and OpenVINO GenAI, which it installs; writes results/decode.json
	$(BIN)/python benchmarks/decode.py

bench-factory: $(BIN)/.ready  ## Measure builds and training: what is repeated, and speed beside a bare loop; writes results/factory.json
	$(BIN)/python benchmarks/factory.py

drills: $(BIN)/.ready  ## The large forms of the tests that repeat something (an hour and a half); writes benchmarks/results/drills.json. ONLY="words" chooses
	nice -n 10 $(BIN)/python benchmarks/drills.py $(if $(ONLY),--only $(ONLY))

lock:  ## Write requirements.lock and torch.lock from what is installed, with hashes
	$(BIN)/python tools/lock.py

clean:  ## Remove the virtual environment, caches and the demo
	rm -rf $(VENV) .bench .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
