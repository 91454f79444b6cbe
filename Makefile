# The one front door: every target does its own set-up from python3, pip and make alone.
# Environments are built from locks/ with verified hashes; a stamp file in each says
# what it was built from, so that a second run starts at once.

PYTHON ?= python3# the native environment needs 3.11 or 3.12, where mediapipe ends
BIN := .venv/bin
UV := $(BIN)/uv

# What runs once more against mediapipe's numpy 1.26 and protobuf 4.25.
NATIVE_TESTS ?= tests/unit tests/graphs tests/interop tests/native tests/mediapipe tests/library

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z.-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: demo
demo: .venv ## serve the people-tracking graph, stream a video through it
	$(BIN)/python graphs/people_tracking/demo.py

# What holds the server to times has the machine to itself; the rest runs two at a time.
TIMED_TESTS := $(addprefix tests/,benchmarks browser gates python_nodes reload wire workers)
TWO := --numprocesses 2 --dist loadfile

.PHONY: test
test: .venv .venv-native ## the suite on current packages, then its subset beside mediapipe
	$(BIN)/python -m pytest $(TWO) $(addprefix --ignore=,$(TIMED_TESTS))
	$(BIN)/python -m pytest $(TIMED_TESTS)
	.venv-native/bin/python -m pytest $(TWO) $(NATIVE_TESTS)

GRAPHS ?= 2000

.PHONY: nightly
nightly: .venv .venv-native ## compare GRAPHS=2000 random graphs with MediaPipe's runtime; other examples for all laws
	DIFFERENTIAL_GRAPHS=$(GRAPHS) $(BIN)/python -m pytest tests/differential
	OVMS_MP_TEST_AT_RANDOM=1 $(BIN)/python -m pytest -m hypothesis

LIVES ?= 10000

.PHONY: transports
transports: .venv .venv-grpcio ## both transports on the oldest and newest grpcio; LIVES=10000 calls each
	OVMS_MP_TEST_LIVES=$(LIVES) $(BIN)/python -m pytest tests/wire/transport
	OVMS_MP_TEST_LIVES=$(LIVES) .venv-grpcio/bin/python -m pytest tests/wire/transport

GATES ?=

.PHONY: gates
gates: .venv ## what a server has to bear, R1 to R20 or GATES='R2 R5', in 15 minutes; PUBLISH=1 puts figures in docs
	$(BIN)/python -m tests.gates.run --minutes 15 --only $(GATES) $(if $(PUBLISH),--publish)

MINUTES ?= 600

.PHONY: soak
soak: .venv ## the same as for a release, in MINUTES=600 at most
	$(BIN)/python -m tests.gates.run --tier night --minutes $(MINUTES) --only $(GATES)

.PHONY: bench
bench: .venv .venv-native ## the server beside OpenVINO's own speed, in one run
	$(BIN)/python -m tests.bench.run $(BENCH_FLAGS)

.PHONY: bench-peers
bench-peers: .venv ## the same beside KServe, MLServer and Triton, which it installs
	$(BIN)/python -m tests.bench.run --peers $(BENCH_FLAGS)

.PHONY: perf-analyzer
perf-analyzer: .venv ## NVIDIA's perf_analyzer against the server, unary and streaming
	$(BIN)/python -m tests.bench.perf_analyzer

.PHONY: check
check: .venv ## format, lint, strict types, import contracts, dead dependencies, proto drift
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/hadolint Dockerfile
	$(BIN)/python protos/generate.py --check

.PHONY: format
format: .venv ## format and mend what ruff can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: protos
protos: .venv ## regenerate what is generated from protos/
	$(BIN)/python protos/generate.py

# Keeps every pin that still fits pyproject.toml; `make lock UPGRADE=--upgrade` moves on.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' $(UPGRADE)

.PHONY: lock
lock: $(UV) ## resolve locks/ again; images get the versions that were tested
	$(COMPILE) --group uv -o locks/uv.txt
	$(COMPILE) --group build -o locks/build.txt
	$(COMPILE) --no-deps --group oldest-grpcio -o locks/grpcio.txt
	$(COMPILE) pyproject.toml --extra cloud --extra genai --extra otel --group build --group test --group clouds --group check \
		--overrides locks/runtime.overrides -o locks/base.txt
	$(COMPILE) pyproject.toml --extra native --group build --group test \
		--overrides locks/runtime.overrides --overrides locks/native.overrides -o locks/native.txt
	$(COMPILE) pyproject.toml --overrides locks/runtime.overrides \
		--constraint locks/base.txt -o locks/runtime.txt
	$(COMPILE) pyproject.toml --extra native --overrides locks/runtime.overrides \
		--overrides locks/native.overrides --constraint locks/native.txt -o locks/runtime-native.txt

VARIANT ?= slim
IMAGE ?= ovms_mp:$(VARIANT)
LOCK_OF_slim := runtime
LOCK_OF_full := runtime-native
# BASE_IMAGE= replaces the base; IMAGE_FLAGS= is for what this network or machine needs.
IMAGE_OPTIONS = --tag $(IMAGE) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
	--build-arg LOCK=$(or $(LOCK_OF_$(VARIANT)),$(error VARIANT is slim or full)) $(IMAGE_FLAGS)

.PHONY: image
image: ## build a container image with docker or buildah; VARIANT=full adds mediapipe
	@if docker info >/dev/null 2>&1; then set -ex; \
		docker build $(IMAGE_OPTIONS) .; \
		docker image ls $(IMAGE); \
	elif command -v buildah >/dev/null; then set -ex; \
		buildah build --format docker --layers $(IMAGE_OPTIONS) .; \
		buildah images $(IMAGE); \
	else \
		echo 'no docker engine answers, and the package buildah is not installed' >&2; \
		exit 1; \
	fi

.PHONY: sbom
sbom: .venv ## what is installed in an image, in CycloneDX: dist/VARIANT.cdx.json
	@mkdir -p dist
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		-o dist/$(VARIANT).cdx.json locks/$(LOCK_OF_$(VARIANT)).txt

.PHONY: clean
clean: ## remove the environments and every cache
	rm -rf .venv .venv-native .venv-grpcio dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: .venv .venv-native .venv-grpcio
.venv: .venv/.installed ## current packages, and the tools
.venv-native: .venv-native/.installed ## mediapipe's packages
.venv-grpcio: .venv-grpcio/.installed ## current packages, and the oldest grpcio supported

# Without ensurepip, which Debian splits off: the outer pip installs uv into the environment.
$(UV): locks/uv.txt
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python .venv/bin/python install --quiet --disable-pip-version-check \
		--require-hashes -r locks/uv.txt
	@touch $@

.venv/.synced: locks/base.txt $(UV)
	$(UV) pip sync --quiet --require-hashes --python .venv/bin/python $<
	@touch $@

.venv-native/.synced: locks/native.txt $(UV)
	$(PYTHON) -m venv --without-pip .venv-native
	$(UV) pip sync --quiet --require-hashes --python .venv-native/bin/python $<
	@touch $@

.venv-grpcio/.synced: locks/base.txt locks/grpcio.txt $(UV)
	$(PYTHON) -m venv --without-pip .venv-grpcio
	$(UV) pip sync --quiet --require-hashes --python .venv-grpcio/bin/python $<
	$(UV) pip install --quiet --require-hashes --no-deps --python .venv-grpcio/bin/python \
		-r locks/grpcio.txt
	@touch $@

# The build backend comes from the lock too, hence no isolated build.
%/.installed: %/.synced pyproject.toml
	$(UV) pip install --quiet --python $*/bin/python --no-build-isolation --no-deps -e .
	@touch $@
