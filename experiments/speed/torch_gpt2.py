r"""A training step of GPT-2 in PyTorch at its best on a CPU, timed: what ours is compared with.

    python experiments/speed/torch_gpt2.py --vocab-size 65 --seq-len 64 --num-layers 4 --num-heads 4 \
        --d-model 128 --batch-size 12

The model is GPT-2 as OpenAI made it: learned positions, Pre-LN blocks, biases in the linear layers, tanh GELU, and the token
embedding as the head's matrix, without a bias. A step is: forward, cross-entropy, backward, clipping the gradient's norm to
1.0, AdamW, and reading the loss. For PyTorch's benefit: `scaled_dot_product_attention`, one matrix for queries, keys and
values, the fused AdamW, gradients set to None, and with `--mode compile` the whole model through `torch.compile`.

Prints one JSON object: see peer.py. Needs PyTorch and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from peer import BETAS, EPSILON, LEARNING_RATE, MAX_NORM, STD, WEIGHT_DECAY, arguments, report
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
        nn.init.normal_(module.weight, std=STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def stepper(model: nn.Module, ids: Tensor, targets: Tensor, mode: str, dtype: str) -> Callable[[], float]:
    """A function that makes one more step on the same batch and returns the loss before it."""
    given = {"lr": LEARNING_RATE, "betas": BETAS, "eps": EPSILON, "weight_decay": WEIGHT_DECAY}
    optimizer = torch.optim.AdamW(model.parameters(), **given, fused=True)
    run = torch.compile(model) if mode == "compile" else model
    lower = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16")

    def step() -> float:
        with lower:
            loss = run(ids, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        return loss.item()

    return step


def main() -> None:
    """Time the steps and print what was found."""
    args = arguments(__doc__, mode=("eager", "compile"), dtype=("float32", "bfloat16"))  # bfloat16 is autocast
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    model = GPT2(args.vocab_size, args.seq_len, args.num_layers, args.num_heads, args.d_model)
    ids, targets = torch.randint(args.vocab_size, (2, args.batch_size, args.seq_len))
    report(args, stepper(model, ids, targets, args.mode, args.dtype), torch.get_num_threads())


if __name__ == "__main__":
    main()
