"""`gpt2 info` is held against a real forward pass."""

import tracemalloc

import numpy as np

from gpt2 import GPT2, GPT2Config
from gpt2.insight.info import as_text, describe
from tinygrad2 import graph


def test_the_data_flow_of_the_source_document():
    flow = {row["step"]: tuple(row["shape"]) for row in describe(GPT2Config.preset("small"))["data_flow"]}
    assert flow["token embedding wte[ids]"] == (3, 768)
    assert flow["h.0 Q, K and V, each split into heads"] == (12, 3, 64)
    assert flow["h.11 scores = Q K^T / sqrt(d_k)"] == (12, 3, 3)
    assert flow["h.5 GELU"] == (3, 3072)
    assert flow["logits = h W_lm + b_lm"] == (3, 50257)


def test_shown_shapes_are_those_of_a_forward_pass(monkeypatch):
    config = GPT2Config(vocab_size=11, max_seq_len=6, d_model=8, num_layers=2, num_heads=2, d_ff=20)
    seen = []
    record = graph.record

    def watch(tensor, op, inputs, params):
        out = record(tensor, op, inputs, params)
        seen.append((op.name, out.shape))
        return out

    monkeypatch.setattr(graph, "record", watch)
    GPT2(config)(np.zeros(3, int))
    steps = {
        "embedding": ["token embedding wte[ids]", "positional embedding wpe[0..T-1]"],
        "layer_norm": ["ln_1", "ln_2", "ln_f"],
        "causal_attention": ["heads concatenated"],
        "gelu": ["GELU"],
        "linear": ["Q, K, V = x Wq, x Wk, x Wv", "output projection", "x W1 + b1", "(...) W2 + b2", "logits = h W_lm + b_lm"],
        "add": ["x = token + position", "x = x + attention", "x = x + feed forward"],
    }
    shown = [(row["step"].split(" ", 1)[1] if row["step"].startswith("h.") else row["step"], tuple(row["shape"]))
             for row in describe(config)["data_flow"]]  # fmt: skip
    expected = [(op, shape) for name, shape in shown for op, names in steps.items() if name in names]
    assert expected == [(name, shape) for name, shape in seen if name in steps]


def test_nothing_is_allocated():
    tracemalloc.start()
    about = describe(GPT2Config.preset("xl"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert about["num_parameters"] > 1_600_000_000
    assert peak < 10_000_000


def test_the_table_adds_up():
    about = describe(GPT2Config.preset("small"))
    text = as_text(about, "small")
    assert "163,087,441" in text
    rows = [line.split() for line in text.splitlines() if ".weight" in line or ".bias" in line]
    assert sum(int(row[-1].replace(",", "")) for row in rows) == 163_087_441
    assert about["training_flops_per_token"] == 6 * (163_087_441 - 50257 * 768 - 1024 * 768) + 12 * 12 * 1024 * 768
