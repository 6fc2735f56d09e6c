# The list of development's commands: CI calls nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# The C++ that `format` writes and `check` compares.
CXX_SOURCES := $(wildcard memgan/backends/native/csrc/*.h \
                          memgan/backends/native/csrc/cpu/* \
                          memgan/backends/native/csrc/cuda/* \
                          tests/backends/native/*/*.h tests/backends/native/*/*.cpp)

.PHONY: demo test test-kernels bench gpu check format docs clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)                 ## sample, evaluate, train a minute, write demo_out/report.html; CAPTIONS='"..." "..."'
	$(BIN)/python -m reference_models.dmgan demo $(CAPTIONS)

test: $(STAMP)                 ## the whole suite, on the CPU
	$(BIN)/python -m pytest -n 3  # on two cores: tests often wait for programs that they start

test-kernels: $(STAMP)         ## kernels under sanitizers, CUDA compiled for every shipped GPU; needs no GPU
	$(BIN)/python -m tests.backends.native.sanitizers
	$(BIN)/python -m tests.backends.native.emulator
	$(BIN)/python -m tests.backends.native.binary

bench: $(STAMP)                ## tables and plots of the kernels and the model, into benchmarks/results
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.model

OUT ?= runs/gpu
gpu:                           ## all that only a GPU shows, with the python3 that is there: OUT=folder ONLY=part,part
	$(PYTHON) -m benchmarks.gpu --out "$(OUT)" $(if $(ONLY),--only $(ONLY))

check: $(STAMP)                ## ruff, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/clang-format -i $(CXX_SOURCES)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.docs            ## the site, into docs/_build; warnings are errors
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
