"""Every module can be imported, and a model trained, sampled from and evaluated, without what Windows lacks: see windows.py."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(code: str, folder: Path) -> str:
    """Run code in such a process: what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "TINYGRAD2_CACHE": str(folder / "cache")}
    command = [sys.executable, str(HERE / "windows.py"), code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported(tmp_path):
    code = """
import importlib, pkgutil, gpt2, tinygrad2
names = [m.name for p in (tinygrad2, gpt2) for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".", onerror=print)]
engines = [f"tinygrad2.gradcheck.engines.{engine}" for engine in ("pytorch", "jax", "autograd")]
for name in set(names) - set(engines):  # these import what they are of, which asks for more than Windows has
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        of_compiled = name.startswith("tinygrad2.kernels.fast.compiled") and error.name in ("numba", "llvmlite")
        if not (of_compiled or (name, error.name) == ("tinygrad2.gradcheck.digits", "mpmath")):
            raise
print(len(names))
"""
    assert int(run(code, tmp_path).splitlines()[-1]) > 140


@pytest.fixture(scope="module")
def trained(tmp_path_factory, text):
    """A folder with a text and a run that was trained, ended and resumed; and each place that was locked."""
    folder = tmp_path_factory.mktemp("windows")
    folder.joinpath("my.txt").write_bytes(text[:20_000].replace("\n", "\r\n").encode())
    code = """
from gpt2.cli import main
settings = "--max-seq-len 16 --d-model 16 --num-layers 2 --num-heads 2 --batch-size 4 --eval-every 5 --sample-tokens 5"
words = ["train", "--data", "my.txt", "--out", "run", *settings.split()]
assert main([*words, "--steps", "10"]) == 0
assert main([*words, "--steps", "15", "--resume", "--accept-changes"]) == 0
print(LOCKED)
"""
    return folder, ast.literal_eval(run(code, folder).splitlines()[-1])


def test_training_locks_a_byte_that_nobody_reads(trained):
    assert len(trained[1]) == 2
    assert all(place > size + 100 for place, size in trained[1])


def test_lines_of_the_logs_end_as_everywhere(trained):
    run = trained[0] / "run"
    assert b"\r" not in run.joinpath("metrics.jsonl").read_bytes() + run.joinpath("lock").read_bytes()


def test_sampling_and_evaluating(trained):
    code = """
from gpt2.cli import main
assert main(["sample", "--run", "run", "--prompt", "a", "--tokens", "5"]) == 0
assert main(["eval", "--run", "run"]) == 0
"""
    assert "perplexity" in run(code, trained[0])


def test_two_processes_cannot_train_into_one_folder(trained):
    code = """
from pathlib import Path
from gpt2.errors import RunError
from gpt2.run.folder import Run
run = Run(Path("run"))
with run.locked():
    try:
        with Run(Path("run")).locked():
            print("both")
    except RunError as error:
        print(error)
with run.locked():
    print("free again")
"""
    assert "is training into it; kill " in (out := run(code, trained[0]))
    assert out.endswith("free again\n")


def test_a_text_from_standard_input(tmp_path):
    code = """
import os
from gpt2.text.corpora import load_corpus
read, write = os.pipe()
os.write(write, b"a text that comes once\\r\\n" * 9)
os.close(write)
os.dup2(read, 0)
corpus = load_corpus("-")
print(corpus.text == corpus.text, corpus.text, end="")
"""
    assert run(code, tmp_path) == "True " + "a text that comes once\n" * 9
