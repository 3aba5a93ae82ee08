r"""A training step of GPT-2 in PyTorch at its best on a CPU, timed: what ours is compared with.

    python experiments/speed/torch_gpt2.py --vocab-size 65 --seq-len 64 --num-layers 4 --num-heads 4 \
        --d-model 128 --batch-size 12

The model is GPT-2 as OpenAI made it: learned positions, Pre-LN blocks, biases in the linear layers, tanh GELU, and the token
embedding as the head's matrix, without a bias. A step is: forward, cross-entropy, backward, clipping the gradient's norm to
1.0, AdamW, and reading the loss. For PyTorch's benefit: `scaled_dot_product_attention`, one matrix for queries, keys and
values, the fused AdamW, gradients set to None, and with `--mode compile` the whole model through `torch.compile`.

Prints one JSON object: step_ms (median) and min_ms, milliseconds; tokens_per_s of the median step; peak_mb, the most memory the
process has held, in MiB; and the loss of the last step, in nats per token. Needs PyTorch and nothing else.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Causal self-attention of several heads: (B, T, C) to (B, T, C)."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        # Cut in three before the heads are told apart: backward then gathers the gradients in one copy, not in two.
        parts = self.qkv(x).chunk(3, dim=-1)  # each (B, T, C)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)  # each (B, H, T, d_k)
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(found.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        wide = nn.Linear(d_model, 4 * d_model), nn.GELU(approximate="tanh"), nn.Linear(4 * d_model, d_model)
        self.attention = nn.Sequential(nn.LayerNorm(d_model), Attention(d_model, num_heads))
        self.feed_forward = nn.Sequential(nn.LayerNorm(d_model), *wide)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.feed_forward(x)


class GPT2(nn.Module):
    """Token ids and their successors, both (B, T), to the mean cross-entropy."""

    def __init__(self, vocab_size: int, seq_len: int, num_layers: int, num_heads: int, d_model: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(seq_len, d_model)
        self.blocks = nn.Sequential(*(Block(d_model, num_heads) for _ in range(num_layers)))
        self.norm = nn.LayerNorm(d_model)
        self.apply(initialise)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]  # (B, T, C)
        logits = functional.linear(self.norm(self.blocks(x)), self.tokens.weight)  # (B, T, V)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def initialise(module: nn.Module) -> None:
    """N(0, 0.02^2) for every matrix, no bias, as OpenAI did."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def time_steps(args: argparse.Namespace) -> tuple[list[float], float]:
    """Seconds of every timed step, and the last loss."""
    model = GPT2(args.vocab_size, args.seq_len, args.num_layers, args.num_heads, args.d_model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    run = torch.compile(model) if args.mode == "compile" else model
    ids, targets = torch.randint(args.vocab_size, (2, args.batch_size, args.seq_len))
    lower = torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.dtype == "bfloat16")
    seconds = []
    for _ in range(args.warmup + args.steps):
        start = time.perf_counter()
        with lower:
            loss = run(ids, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        value = loss.item()
        seconds.append(time.perf_counter() - start)
    return seconds[args.warmup :], value


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for size in ("vocab-size", "seq-len", "num-layers", "num-heads", "d-model", "batch-size"):
        parser.add_argument(f"--{size}", type=int, required=True)
    parser.add_argument("--mode", choices=("eager", "compile"), default="eager", help="default: eager")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="bfloat16: autocast; default: float32"
    )
    parser.add_argument("--threads", type=int, default=0, help="default: as many as PyTorch takes")
    parser.add_argument("--warmup", type=int, default=3, help="steps before those that are timed; default: 3")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed; default: 10")
    return parser.parse_args()


def main() -> None:
    """Time the steps and print what was found."""
    args = arguments()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    seconds, loss = time_steps(args)
    median = statistics.median(seconds)
    found = {
        "step_ms": round(1e3 * median, 2),
        "min_ms": round(1e3 * min(seconds), 2),
        "tokens_per_s": round(args.batch_size * args.seq_len / median, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "loss": round(loss, 4),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
