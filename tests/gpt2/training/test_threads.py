"""Several threads that each train a model at once: the same bits as alone."""

import threading

import numpy as np
import pytest
from kernel_settings import PAIRS, name, needs_mkl, use
from threadpoolctl import threadpool_info, threadpool_limits

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer

SHAPE = GPT2Config(vocab_size=65, d_model=64, num_layers=1, num_heads=2, max_seq_len=32, dropout=0.1)


@pytest.fixture(params=PAIRS, ids=name)
def pair(request, monkeypatch):
    use(monkeypatch, *request.param)
    return request.param


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def trained(seed, shards, dtype="float32", steps=10):
    """The weights after a few steps."""
    config = TrainConfig(steps=steps, batch_size=8, learning_rate=2e-3, threads=2, shards=shards, seed=seed, dtype=dtype)
    model = GPT2(SHAPE, seed=seed)
    with Shards(config.threads, config.shards, config.batch_size) as shards:
        trainer = Trainer(model, config, np.random.default_rng(seed).integers(0, 65, 5000), shards)
        for _ in range(steps):
            trainer.step()
    return b"".join(p.data.tobytes() for p in model.parameters())


def at_once(*calls):
    """What each call gives, each in a thread; what it raises is given too."""
    found = {}

    def work(i, call):
        try:
            found[i] = call()
        except BaseException as error:
            found[i] = error

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[i] for i in range(len(calls))]


@pytest.mark.parametrize("shards", [1, 2])
def test_four_threads_with_an_executor_each_have_the_bits_that_each_has_alone(pair, shards):
    alone = [trained(seed, shards) for seed in range(4)]
    for _ in range(2):
        assert at_once(*[lambda seed=seed: trained(seed, shards) for seed in range(4)]) == alone


@needs_mkl
def test_bfloat16_of_one_thread_does_not_round_the_others():
    dtypes = ["bfloat16", "float32"] * 2
    alone = [trained(0, 2, dtype) for dtype in dtypes]
    assert alone[0] != alone[1]
    assert at_once(*[lambda dtype=dtype: trained(0, 2, dtype) for dtype in dtypes]) == alone


def test_the_last_executor_gives_the_matrix_library_its_threads_back():
    with threadpool_limits(3, user_api="blas"):
        before = blas_threads()
        first, second, inside = Shards(2, 2, 8), Shards(2, 2, 8), []
        at_once(first.__enter__)
        with second:
            at_once(lambda: first.__exit__(None, None, None))
            inside = blas_threads()
        assert set(inside) == {1}
        assert blas_threads() == before
