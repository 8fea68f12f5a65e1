# Each target sets up what it needs in $(VENV); `make VENV=somewhere` puts it elsewhere.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
KERNELS = $(wildcard kernels/CMakeLists.txt kernels/include/*.h kernels/src/*.* kernels/src/isa/*.*)
CPP = $(wildcard kernels/include/* kernels/src/*.[hc]* kernels/src/isa/* wheels/*.c benchmarks/cores/*.[hc]* tests/kernels/*.[hc]* tests/kernels/emulation/*)

# Two files of tests at a time; a file's tests stay together, as they share what they build.
IN_PARALLEL = -n 2 --dist loadfile

.PHONY: demo test check lint format fuzz soak quality bench figures mini wheels clean

test: $(VENV)/installed  ## the tests but for the slow ones; those that need ../shared or a GPU skip visibly without it
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "not slow"

check: lint test  ## everything that must hold: format, lint, types, all tests
	$(BIN)/python -m pytest $(IN_PARALLEL) -m slow

lint: $(VENV)/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/mypy

format: $(VENV)/installed  ## put the code into the project's format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/clang-format -i $(CPP)

demo: $(VENV)/light  ## export a small checkpoint and use it
	$(BIN)/python examples/demo.py

SECONDS_OF_FUZZ ?= 600

fuzz: $(VENV)/installed  ## hostile input of every kind, for longer than `make check` does
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS_OF_FUZZ) --jobs 2

soak: $(VENV)/installed  ## 30 minutes of a server ($(BUNDLE)) under everything at once
	$(BIN)/python -m benchmarks.soak $(BUNDLE) --out

quality: $(VENV)/installed  ## judge the embedded model on real tasks (needs ../shared), and write the tables of docs/benchmarks.md
	$(BIN)/instructor-onnx export checkpoints/instructor-mini demo-bundle --variants fp32,int8,int4 --overwrite
	$(BIN)/python -m benchmarks.quality demo-bundle --checkpoint checkpoints/instructor-mini --readme docs/benchmarks.md

# What `make bench` compares: `make bench BUNDLE=b CHECKPOINT=c OPTIONS='--slice-rows 20 --rounds 3'`.
BUNDLE ?= demo-bundle
CHECKPOINT ?= checkpoints/instructor-mini
OPTIONS ?=

bench: $(VENV)/installed  ## this processor's results, against every rival (environments of 5 GB); goes on where it stopped
	test -d $(BUNDLE) || $(BIN)/instructor-onnx export $(CHECKPOINT) $(BUNDLE) --variants fp32,int8,int4
	$(BIN)/python -m benchmarks.compare $(BUNDLE) --checkpoint $(CHECKPOINT) $(OPTIONS)

figures: $(VENV)/installed  ## our own speed, figure by figure (pytest-benchmark)
	$(BIN)/python -m pytest benchmarks/figures.py -p no:cacheprovider --benchmark-columns=min,median,iqr,rounds

# Another processor rounds some weights otherwise. Where only the figures are wanted, of this machine:
# instructor-onnx check instructor-mini --against checkpoints/instructor-mini --record
mini: $(VENV)/installed  ## export the embedded bundle anew, after its checkpoint or the exporter has changed
	$(BIN)/instructor-onnx export checkpoints/instructor-mini runtime/instructor_onnx/instructor-mini \
		--variants int8 --overwrite

DIST ?= dist

wheels: $(VENV)/wheels  ## wheels of eight platforms, the pure one and the sdist, into $(DIST)
	$(BIN)/python -m wheels.build $(DIST)

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

INSTALL = $(PYTHON) -m venv $(VENV) && \
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

$(VENV)/light: pyproject.toml constraints.txt $(KERNELS)
	$(INSTALL) -e '.[export,sklearn]'
	touch $@

$(VENV)/installed: pyproject.toml constraints.txt $(KERNELS)
	$(INSTALL) -e '.[dev]'
	touch $(VENV)/light $@

$(VENV)/wheels: wheels/requirements.txt
	$(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check -r wheels/requirements.txt
	touch $@
