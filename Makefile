# Everything runs in a virtual environment of its own, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests start hundreds of processes, which would each compile all of the code anew.
unexport PYTHONDONTWRITEBYTECODE

.NOTPARALLEL:
.PHONY: train test quick lowest exhaustive package stress hostile oracle compiled mpi mutation experiments experiments-quick docs notebooks lint clean

# A model of your text in three minutes, whatever the machine: make train ARGS=my.txt; a length in ARGS goes first.
MINUTES ?= 3
train: $(VENV)/installed
	$(BIN)/gpt2 train $(if $(filter --steps% --minutes% --config% --resume%,$(ARGS)),,--minutes $(MINUTES)) $(ARGS)

# On two cores at once, each with one thread for products of matrices.
test: $(VENV)/installed-test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# What the tests do for a sample, for every case.
exhaustive: $(VENV)/installed-test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m exhaustive $(ARGS)

# All tests but the slow files, for a look at another Python: make quick VENV=build/newest PYTHON=python3.14
quick: $(VENV)/installed-test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not experiments and not exhaustive" $(ARGS)

# The same with the lowest version of everything that pyproject.toml admits; they use of each other what is now deprecated.
lowest:
	mkdir -p build
	$(PYTHON) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print("\n".join(p["dependencies"] + p["optional-dependencies"]["test"]).replace(">=", "=="))' > build/lowest.txt
	PIP_CONSTRAINT=build/lowest.txt $(MAKE) quick VENV=build/lowest ARGS="-W ignore::DeprecationWarning $(ARGS)"

# The sdist and the wheel, built, installed elsewhere and used as README.md says.
package: $(VENV)/installed-test $(VENV)/installed-package
	.ci/package $(abspath $(BIN)/python)

# What the tests do in a small form, in full: hundreds of kills, every step resumed, every write failed, 10,000 damaged files,
# and all that a stranger or a slip of the hand can put before a command (make hostile is that part alone).
stress: $(VENV)/installed-test hostile
	STRESS=1 DAMAGED_FILES=2500 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -rP tests/gpt2/training/test_kills.py \
		tests/gpt2/training/test_resuming.py tests/gpt2/run/test_damage.py tests/gpt2/weights/test_hugging_face.py $(ARGS)

hostile: $(VENV)/installed-test
	$(BIN)/python tests/gpt2/hostile.py $(ARGS)

# The tests that compare with PyTorch; here a missing PyTorch is a failure, not a skip.
oracle: $(VENV)/installed-oracle
	REQUIRE_ORACLE=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m oracle $(ARGS)

# The kernels again, and a training, with the compiled ones and MKL's products. Everything in .venv uses them from then on.
compiled: $(VENV)/installed-test $(VENV)/installed-fast $(VENV)/installed-mkl
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/tinygrad2/study/lab \
		--ignore tests/tinygrad2/study/course --ignore tests/tinygrad2/ops/test_op_db.py tests/tinygrad2 \
		tests/gpt2/training/test_fast.py tests/gpt2/training/test_forks.py tests/gpt2/training/test_threads.py \
		tests/gpt2/training/test_training.py $(ARGS)

# One training on several ranks; here a missing mpiexec is a failure, not a skip. STRESS=1 kills a rank at 20 moments. On two hosts
# that are network namespaces too, for root of a Linux with iproute2.
mpi: $(VENV)/installed-test $(VENV)/installed-mpi
	REQUIRE_MPI=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -m mpi $(ARGS)

# Does a test fail when a line of tinygrad2 is wrong? Half an hour on two cores; see tests/mutation/README.md.
mutation: $(VENV)/installed-test $(VENV)/installed-mutation
	nice $(BIN)/python tests/mutation/run.py $(ARGS)

# The numbered experiments: all in full, which writes their results, and in a small form with their controls, which checks them.
experiments: $(VENV)/installed
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m experiments all

experiments-quick: $(VENV)/installed-test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m experiments tests/test_experiments.py $(ARGS)

# All pages, in both languages, and the reference of public names, to search and to read without a network: build/site/index.html
docs: $(VENV)/installed-test $(VENV)/installed-docs
	rm -rf build/site docs/reference
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --conf-dir docs/site --doctree-dir build/site-trees . build/site
	REQUIRE_SITE=1 $(BIN)/python -m pytest tests/test_site.py $(ARGS)

# The notebooks of docs/notebooks in both languages, run without a network where unshare can take it away: build/notebooks/*.ipynb
notebooks: $(VENV)/installed-test $(VENV)/installed-notebook
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_notebooks.py
	OPENBLAS_NUM_THREADS=1 $(shell unshare --map-root-user --net true 2>/dev/null && echo unshare --map-root-user --net) \
		$(BIN)/python docs/notebooks/build.py $(ARGS)

lint: $(VENV)/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-%: pyproject.toml | $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@
