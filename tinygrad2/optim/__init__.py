"""Optimizers, learning-rate schedules and gradient clipping."""

from tinygrad2.optim.clipping import clip_factor, clip_grad_norm, grad_norm
from tinygrad2.optim.muon import Muon, orthogonalised
from tinygrad2.optim.optimizers import SGD, Adam, AdamW, Optimizer
from tinygrad2.optim.schedules import warmup_constant, warmup_cosine, warmup_linear, warmup_stable_decay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Muon",
    "Optimizer",
    "clip_factor",
    "clip_grad_norm",
    "grad_norm",
    "orthogonalised",
    "warmup_constant",
    "warmup_cosine",
    "warmup_linear",
    "warmup_stable_decay",
]
