"""python forking.py CASE: computes something, forks as the case says, computes it again in the child; prints both as JSON."""

import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from small_runs import run_once

from gpt2 import GPT2, GPT2Config
from gpt2.generation import Sampling, generate
from gpt2.training.shards import Shards
from tinygrad2 import autograd

SHAPE = {"d_model": 64, "num_heads": 2, "max_seq_len": 32}
MODEL = GPT2(GPT2Config(vocab_size=23, num_layers=2, **SHAPE), 0)
IDS = np.arange(256).reshape(8, 32) % 23


def trained():
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(chr(97 + i * i % 23) for i in range(3000))
        result = run_once(Path(folder) / "run", text, model=SHAPE, steps=6, eval_every=3, threads=2, shards=2)[1]
    return [result.val_loss]


def sampled():
    return generate(MODEL, np.zeros(1, np.int64), 8, Sampling(temperature=0.8), 1).tolist()


def both():
    return trained() + sampled()


def gradients(shards):
    """By threads that are there already."""
    loss, grads = shards.loss_and_gradients(MODEL, (IDS, IDS), 0, 0)
    return [loss, *(float(np.abs(g).sum()) for g in grads)]


def backward(loss):
    """Of a graph that is there."""
    return [float(np.abs(g.data).sum()) for g in autograd.grad([loss], MODEL.parameters(), retain_graph=True)]


def forked(f, *args):
    """f(*args), in a child of os.fork."""
    read, write = os.pipe()
    if not os.fork():
        signal.alarm(45)
        try:
            os.write(write, json.dumps(f(*args)).encode())
        except Exception as error:
            os.write(write, json.dumps(repr(error)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        answer = file.read()
    code = os.waitstatus_to_exitcode(os.wait()[1])
    return json.loads(answer) if answer else f"the child ended with {code}"


def by_multiprocessing(f):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(f)


def after():
    return both(), forked(both)


def after_by_multiprocessing():
    return both(), by_multiprocessing(both)


def inside_another_begins():
    with Shards(2, 2, 8) as shards:
        gradients(shards)
        return both(), forked(both)


def inside_it_goes_on():
    with Shards(2, 2, 8) as shards:
        return gradients(shards), forked(gradients, shards)


def with_one_shard():
    with Shards(2, 1, 8) as shards:
        return gradients(shards), forked(gradients, shards)


def with_a_graph():
    with Shards(2, 1, 8):
        loss = MODEL.loss(IDS, IDS)
        return backward(loss), forked(backward, loss)


def a_grandchild():
    return both(), forked(forked, both)


def beside_a_thread_that_trains():
    ends = threading.Event()

    def train():
        while not ends.is_set():
            trained()

    thread = threading.Thread(target=train)
    thread.start()
    try:
        return both(), [forked(both) for _ in range(5)][-1]
    finally:
        ends.set()
        thread.join()


if __name__ == "__main__":
    case = globals()[sys.argv[1]]
    faulthandler.register(signal.SIGALRM, chain=False)  # where a process hangs, it says in which lines
    signal.alarm(50)
    print(json.dumps(case()))
