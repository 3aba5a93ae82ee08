"""What a configuration amounts to: parameters, memory, work, and the shape of every step. Nothing is allocated."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from gpt2.config import GPT2Config
from gpt2.model import GPT2
from tinygrad2 import nn
from tinygrad2.errors import counted

Flow = list[tuple[str, tuple[int, ...]]]


def describe(config: GPT2Config, tokens: int = 3) -> dict[str, Any]:
    """Everything `gpt2 info` shows, as one object; `data_flow` is for a sequence of `tokens` tokens."""
    with nn.init.shapes_only():
        model = GPT2(config)
    parameters = {name: p.shape for name, p in model.named_parameters()}
    total = model.num_parameters()
    positions = math.prod(parameters.get("wpe.weight", (0,)))
    lookups = positions + (0 if config.tie_embeddings else model.wte.weight.size)
    attention = 12 * config.num_layers * config.max_seq_len * config.d_model
    return {
        "config": dataclasses.asdict(config),
        "parameters": {name: list(shape) for name, shape in parameters.items()},
        "num_parameters": total,
        "memory_bytes": {"weights": 4 * total, "gradients": 4 * total, "adam": 8 * total},
        "training_flops_per_token": 6 * (total - lookups) + attention,
        "data_flow": [{"step": step, "shape": list(shape)} for step, shape in data_flow(config, tokens)],
    }


def data_flow(config: GPT2Config, T: int) -> Flow:
    """The shape after every step of the forward pass, for one sequence of T tokens."""
    C, H, d_k = config.d_model, config.num_heads, config.d_model // config.num_heads
    modern = config.architecture == "modern"
    block: Flow = [
        ("ln_1", (T, C)),
        ("Q, K, V = x Wq, x Wk, x Wv", (T, 3 * C)),
        ("Q, K and V, each split into heads", (H, T, d_k)),
        *([("Q and K scaled to one length and turned by position", (H, T, d_k))] if modern else []),
        ("scores = Q K^T / sqrt(d_k)", (H, T, T)),
        ("weights = softmax(scores + causal mask)", (H, T, T)),
        ("weights V", (H, T, d_k)),
        ("heads concatenated", (T, C)),
        ("output projection", (T, C)),
        ("x = x + attention", (T, C)),
        ("ln_2", (T, C)),
        ("x W1 + b1", (T, config.d_ff)),
        ("ReLU, squared" if modern else "GELU", (T, config.d_ff)),
        ("(...) W2 + b2", (T, C)),
        ("x = x + feed forward", (T, C)),
    ]
    return [
        ("token ids", (T,)),
        ("token embedding wte[ids]", (T, C)),
        *([] if modern else [("positional embedding wpe[0..T-1]", (T, C)), ("x = token + position", (T, C))]),
        *((f"h.{i} {step}", shape) for i in range(config.num_layers) for step, shape in block),
        ("ln_f", (T, C)),
        ("logits = h W_lm + b_lm" if config.head_bias else "logits = h W_lm", (T, config.vocab_size)),
    ]


def as_text(about: dict[str, Any], title: str) -> str:
    """The same for people: equal blocks are shown once."""
    config, rows = about["config"], about["parameters"]
    layers = config["num_layers"]
    of_width, heads = counted(layers, "layer"), counted(config["num_heads"], "head")
    lines = [f"{title}: {of_width}, d_model {config['d_model']}, {heads}, d_ff {config['d_ff']}", ""]
    lines.append(f"{'parameter':36}{'shape':>16}{'count':>16}")
    for name, shape in rows.items():
        if name.startswith("h.") and not name.startswith("h.0."):
            continue
        repeat = layers if name.startswith("h.0.") else 1
        size = repeat
        for n in shape:
            size *= n
        shown = name.replace("h.0.", f"h.0-{layers - 1}.") if repeat > 1 else name
        lines.append(f"{shown:36}{' x '.join(map(str, shape)):>16}{size:>16,}")
    lines.append(f"{'total':36}{'':16}{about['num_parameters']:>16,}")
    if config["tie_embeddings"]:
        lines.append("(the head's matrix is wte.weight)")
    memory = about["memory_bytes"]
    lines += [
        "",
        f"float32 memory: weights {memory['weights'] / 1e6:,.1f} MB, gradients {memory['gradients'] / 1e6:,.1f} MB, "
        f"Adam {memory['adam'] / 1e6:,.1f} MB, and activations",
        f"training: {about['training_flops_per_token'] / 1e6:,.1f} MFLOP per token "
        "(6 per weight in a matrix product, 12 L T C for attention at the full context)",
        "",
        f"data flow of {counted(about['data_flow'][0]['shape'][0], 'token')}",
    ]
    for row in about["data_flow"]:
        if row["step"].startswith("h.") and not row["step"].startswith("h.0 "):
            continue
        step = row["step"].removeprefix("h.0 ")
        indent = "    " if step != row["step"] else "  "
        if step == "ln_1":
            lines.append(f"  {counted(layers, 'block')}{', each' * (layers > 1)}:")
        lines.append(f"{indent + step:48}{' x '.join(map(str, row['shape'])):>16}")
    return "\n".join(lines)
