"""Pools of threads: each context has its own, whatever other threads open and close."""

import os
import threading
from contextlib import ExitStack, nullcontext
from contextvars import copy_context

import numpy as np
import pytest

from tinygrad2 import Tensor, autograd, nn, study
from tinygrad2.files import write_atomically
from tinygrad2.kernels.fast import products, threads


def shares(n=12):
    """Who takes which part."""
    return threads.share(lambda part: (part.start, part.stop, threading.get_ident()), n)


def elsewhere(f):
    """f() in another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(f()))
    thread.start()
    thread.join()
    return found[0]


def test_a_pool_is_open_for_its_own_thread_only():
    with threads.pool(3):
        assert threads.size() == 3
        assert elsewhere(threads.size) == 0
        context = copy_context()
        assert elsewhere(lambda: context.run(threads.size)) == 3
    assert threads.size() == 0


def test_pools_may_close_in_any_order():
    first, second = ExitStack(), ExitStack()
    first.enter_context(threads.pool(2))
    second.enter_context(threads.pool(3))
    first.close()
    assert len(shares()) == 3
    second.close()
    assert threads.size() == 0
    assert len(shares()) == 1


def test_threads_that_open_and_close_pools_do_not_disturb_each_other():
    def work(size):
        found = set()
        for _ in range(50):
            with threads.pool(size):
                found.add(tuple(stop - start for start, stop, _ in shares()))
        return found

    with threads.pool(2):
        results = {}
        running = [threading.Thread(target=lambda i=i: results.setdefault(i, work(i))) for i in (1, 2, 3, 4)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert len(shares()) == 2
    assert results == {size: {(12 // size,) * size} for size in (1, 2, 3, 4)}


def test_a_task_shares_no_further_and_sees_what_is_on():
    with threads.pool(2) as pool, np.errstate(invalid="raise"):
        tasks = list(pool.map(lambda _: (threads.size(), threads.count(100), np.geterr()["invalid"]), range(4)))
        inner = threads.share(lambda _: threads.count(100), 2)
        assert threads.count(100) == 2
    assert tasks == [(2, 1, "raise")] * 4
    assert inner == [1, 1]


MODES = {
    "no_grad": (autograd.no_grad, lambda: not autograd.is_recording()),
    "enable_grad": (autograd.enable_grad, autograd.is_recording),
    "detect_anomaly": (autograd.detect_anomaly, lambda: autograd.observing() is not None),
    "record": (study.record, lambda: autograd.observing() is not None),
    "dropout_rng": (lambda: nn.dropout_rng(RNG), lambda: nn.dropout.current_rng() is RNG),
    "shapes_only": (nn.init.shapes_only, nn.init.is_shapes_only),
}
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("context", "is_on"), MODES.values(), ids=MODES)
def test_what_is_on_around_a_call_is_on_in_the_threads_of_a_pool(context, is_on):
    with autograd.no_grad() if context is autograd.enable_grad else nullcontext(), threads.pool(2) as pool:
        with context():
            task = pool.submit(is_on)
            assert is_on()
            assert task.result()
            assert elsewhere(is_on) == (context is autograd.enable_grad)  # a thread of one's own begins as the program did
        assert not is_on()
        assert not pool.submit(is_on).result()


def test_a_leaf_is_one_value_in_what_is_recorded_on_several_threads():
    w = Tensor(np.ones(3), requires_grad=True)
    with threads.pool(4) as pool, study.record():
        losses = list(pool.map(lambda i: np.sum(w * i), range(32)))
    leaves = [study.Trace(loss).leaves for loss in losses]
    assert len({id(leaf) for (leaf,) in leaves}) == 1


@pytest.mark.skipif(products.mkl() is None, reason="pip install -e '.[mkl]'")
def test_bfloat16_is_on_for_its_own_thread_and_for_the_pool():
    with threads.pool(2) as pool, products.bfloat16([]):
        assert products.rounds()
        assert not elsewhere(products.rounds)
        assert pool.submit(products.rounds).result()
    assert not products.rounds()


def test_a_file_has_the_mode_of_any_file_without_asking_for_the_umask(tmp_path, monkeypatch):
    """To ask is to set it for a moment; another thread that asks then gives back the wrong one."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", None)
            write_atomically(tmp_path / "file", b"x")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
