"""The choice of a library: measured on the step, kept, said, written down, and gone on with."""

import json

import numpy as np
import pytest
from kernel_settings import PAIRS
from small_runs import MODEL

from gpt2 import GPT2Config, TrainConfig
from gpt2.cli import main
from gpt2.model import GPT2
from gpt2.training import choice
from tinygrad2 import kernels
from tinygrad2.kernels.fast import products

SHAPE = GPT2Config(vocab_size=65, d_model=32, num_layers=3, num_heads=4, max_seq_len=32)


class Slow:
    """A library that takes longer than NumPy does, and may be wrong on threads."""

    def __init__(self, repeats, right=True):
        self.repeats, self.right = repeats, right

    def product(self, a, b, out, add):
        for _ in range(self.repeats):
            np.matmul(a, b, out=out)

    def is_right_on_threads(self, threads):
        return self.right


@pytest.fixture
def two(monkeypatch, tmp_path):
    """Two libraries, of which "mkl" takes three times as long; what is measured is kept for this test alone."""
    there = {"openblas": Slow(2), "mkl": Slow(6), "numpy": None}
    monkeypatch.setenv("TINYGRAD2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(products, "available", lambda: ("mkl", "openblas", "numpy"))
    monkeypatch.setattr(products, "named", there.get)
    monkeypatch.setattr(kernels, "COMPILED", True, raising=False)
    monkeypatch.setattr(choice, "SECONDS", 0.05)
    return there


def choose(**config):
    return choice.choose(SHAPE, TrainConfig(batch_size=4, threads=2, **config), 10_000)


def test_the_faster_is_taken_and_its_rate_is_larger(two):
    found = choose()
    assert (found.name, found.new) == ("openblas", True)
    assert found.rates["openblas"] > 1.5 * found.rates["mkl"]
    assert str(found).startswith("matrix products: openblas (GFLOP/s on one thread here: ")
    two["openblas"].repeats = 60
    assert choose().rates == found.rates  # what was kept
    assert choice.choose(SHAPE, TrainConfig(batch_size=8, threads=2), 10_000).name == "mkl"  # another shape


def test_one_that_is_wrong_on_threads_is_not_taken(two):
    two["openblas"].right = False
    assert choose().name == "mkl"


def test_none_that_is_right_leaves_numpy(two):
    two["openblas"].right = two["mkl"].right = False
    assert choose().name == "numpy"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"atlas": 3.0}', b'{"mkl": "fast"}', b'{"mkl": -1.0}', b"\xff"])
def test_what_was_kept_and_cannot_be_read_is_measured_again(two, content, tmp_path):
    choose()
    (path,) = (tmp_path / "cache" / "products").glob("*.json")
    path.write_bytes(content)
    assert (choose().name, choose().new) == ("openblas", False)
    assert json.loads(path.read_bytes()).keys() == {"openblas", "mkl"}


def test_a_cache_folder_that_nobody_may_write_is_no_error(two, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert (choose().new, choose().new) == (True, True)


def test_one_that_is_hardly_faster_does_not_take_the_place_of_the_first(two):
    assert choice._fastest({"mkl": 100.0, "openblas": 102.0}) == "mkl"
    assert choice._fastest({"mkl": 100.0, "openblas": 104.0}) == "openblas"


def test_what_is_to_be_timed_is_timed_again(two):
    before = choose().rates
    two["openblas"].repeats = 60
    assert choice.choose(SHAPE, TrainConfig(batch_size=4, threads=2), 10_000, timed=True).name == "mkl"
    assert choose().rates != before


def test_in_bfloat16_there_is_no_choice(two):
    assert choose(dtype="bfloat16") == choice.Choice("mkl", {}, False)


def test_one_library_is_not_timed(two, monkeypatch):
    monkeypatch.setattr(products, "available", lambda: ("openblas", "numpy"))
    assert choose() == choice.Choice("openblas", {}, False)


def test_the_products_that_are_timed_are_those_of_a_step():
    """Of each matrix three, with all tokens of the batch: 6 operations per token and entry (Kaplan et al., 2020, sec. 2.1)."""
    entries = sum(
        np.prod(shape) for name, shape in GPT2.shapes(SHAPE) if len(shape) == 2 and "wte" not in name and "wpe" not in name
    )
    counts = choice.step_products(SHAPE, 4, 1)
    assert sum(2 * np.prod(size) * n for size, n in counts.items()) == 6 * entries * 4 * 32
    shared = choice.step_products(SHAPE, 4, 2)
    assert sum(np.prod(size) * n for size, n in shared.items()) == pytest.approx(
        sum(np.prod(size) * n for size, n in counts.items()) / 2, rel=0.05
    )


def train(tmp_path, text, *flags):
    (tmp_path / "my.txt").write_text(text)
    shape = [f"--{key.replace('_', '-')}={value}" for key, value in MODEL.items()]
    command = ["train", "--data", str(tmp_path / "my.txt"), "--out", str(tmp_path / "run"), *shape, "--sample-tokens=0"]
    return main([*command, "--no-plots", *flags])


@pytest.mark.skipif(("numba", "openblas") not in PAIRS, reason="pip install -e '.[fast]'")
def test_a_run_goes_on_with_the_library_that_it_began_with(tmp_path, text, capsys, monkeypatch):
    resume = ["train", "--resume", "--no-plots", "--out", str(tmp_path / "run")]
    monkeypatch.delenv("TINYGRAD2_PRODUCTS", raising=False)
    before = products.running()
    monkeypatch.setenv("TINYGRAD2_PRODUCTS", "numpy")
    assert train(tmp_path, text, "--steps=2") == 0
    monkeypatch.delenv("TINYGRAD2_PRODUCTS")
    assert main([*resume, "--steps=4"]) == 0
    about = json.loads((tmp_path / "run" / "config.json").read_text())
    assert {part["machine"]["products"] for part in (about, *about["before"])} == {"numpy"}
    assert products.running() == before  # and nothing is left of it
    monkeypatch.setenv("TINYGRAD2_PRODUCTS", "openblas")
    capsys.readouterr()
    assert main([*resume, "--steps=6"]) == 2
    fix = "(without TINYGRAD2_PRODUCTS, it gives the same sums)"
    assert f"products = openblas on this machine, was numpy {fix}" in capsys.readouterr().err


@pytest.mark.parametrize(("library", "extra"), [("mkl", "mkl"), ("openblas", "fast")])
def test_a_library_that_is_missing_is_named_with_what_brings_it(library, extra, tmp_path, text, capsys, monkeypatch):
    monkeypatch.delenv("TINYGRAD2_PRODUCTS", raising=False)
    assert train(tmp_path, text, "--steps=2") == 0
    path = tmp_path / "run" / "config.json"
    about = json.loads(path.read_text())
    about["machine"]["products"] = library
    path.write_text(json.dumps(about))
    monkeypatch.setattr(products, "available", lambda: ("numpy",))
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--steps=6"]) == 2
    assert f"was {library} (pip install 'tinygrad2[{extra}]' gives the same sums)" in capsys.readouterr().err
