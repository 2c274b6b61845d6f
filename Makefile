# make demo | test | lint | bench | report: each sets up .venv with what it needs; later runs skip that by stamp files.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-output
DEMO_STYLE ?= 19
# Restyle only the first N frames; 0 means all.
DEMO_FRAMES ?= 0

.PHONY: help demo test test-arm test-avx512 lint format bench bench-int8 bench-bfloat16 bench-quality bench-memory \
	bench-arm bench-arm-counts bench-equality soak report wheels clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    restyle a short clip into $(DEMO)/ (a video and a contact sheet of styles)'
	@echo 'make test    run the tests'
	@echo 'make test-arm  run kernels and models on arm64 processors under qemu (Debian, as root)'
	@echo 'make test-avx512  run kernels, plans and models of AVX-512, VNNI and BF16 on any processor with AVX2'
	@echo 'make lint    check format, style, types and the layers of imports'
	@echo 'make format  format the code'
	@echo 'make bench   measure against ONNX Runtime, OpenVINO, ncnn, MNN, LiteRT and tract'
	@echo 'make bench-int8  measure models on 8-bit integers against ONNX Runtime and OpenVINO'
	@echo 'make bench-bfloat16  measure style models in bfloat16 against our float32 and OpenVINO'
	@echo 'make bench-quality  what 8-bit integers cost: equal top-1 answers, PSNR of styles, on photographs'
	@echo 'make bench-memory  measure memory and start of all models against ONNX Runtime'
	@echo 'make bench-arm-counts  executed instructions on emulated Arm processors beside the peers (Debian, as root)'
	@echo 'make bench-equality  integers of quantized models beside those of ONNX Runtime on emulated arm64 (Debian, as root)'
	@echo 'make bench-arm  inner loops of the Arm kernels against what each core can issue (llvm-mca)'
	@echo 'make soak    10,000 runs of one session and of two at once; fails if memory grows'
	@echo 'make report  measure the same and write docs/performance.md'
	@echo 'make wheels  build wheels that carry compiled kernels'
	@echo 'make clean   remove .venv and everything generated'

demo: $(VENV)/.stamp-demo
	@mkdir -p $(DEMO)
	$(BIN)/edgeinfer stylize models/demo/clip.mp4 -o $(DEMO)/restyled.mp4 --style $(DEMO_STYLE) --frames $(DEMO_FRAMES)
	$(BIN)/edgeinfer stylize models/demo/clip.mp4 -o $(DEMO)/styles.png --contact-sheet --at 2.2
	@echo 'Look at $(DEMO)/restyled.mp4 and $(DEMO)/styles.png'

test: $(VENV)/.stamp-test
	$(BIN)/python -m pytest

test-arm: $(VENV)/.stamp-test
	$(BIN)/python tests/arm/arm64.py

test-avx512: $(VENV)/.stamp-test
	$(BIN)/python tests/avx512/avx512.py

lint: $(VENV)/.stamp-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.stamp-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.compare

bench-int8: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.quantized

bench-bfloat16: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.bfloat16

bench-quality: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.quality

bench-arm: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.arm

bench-arm-counts: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.arm_counts

bench-equality: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.quantized_equality

bench-memory: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.memory

soak: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.soak

report: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks.report

wheels: $(VENV)/.stamp-wheels
	$(BIN)/python -m edgeinfer.codegen.wheels --output dist

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.stamp-demo: EXTRAS := jit,video
$(VENV)/.stamp-test: EXTRAS := test
$(VENV)/.stamp-wheels: EXTRAS := wheels
$(VENV)/.stamp-bench: EXTRAS := jit,convert,bench

$(VENV)/.stamp-%: pyproject.toml | $(BIN)/python
	@echo 'Installing edgeinfer[$(EXTRAS)] into $(VENV) …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo 'Python is missing: install python3, 3.10 or newer.' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "edgeinfer needs Python 3.10 or newer, $(PYTHON) is $$($(PYTHON) -V); choose one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "The venv module of $(PYTHON) is missing: on Debian or Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	@echo 'Making a virtual environment in $(VENV) …'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
