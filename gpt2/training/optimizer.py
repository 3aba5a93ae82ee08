"""The optimizer and the schedule that the settings of a training name."""

from __future__ import annotations

from collections.abc import Iterable

from gpt2.config import TrainConfig
from tinygrad2 import nn, optim

SCHEDULES = {
    "cosine": optim.warmup_cosine,
    "linear": optim.warmup_linear,
    "constant": optim.warmup_constant,
    "wsd": optim.warmup_stable_decay,
}


def make_optimizer(
    parameters: list[nn.Parameter], config: TrainConfig, matrices: Iterable[tuple[nn.Parameter, int]] = ()
) -> optim.Optimizer:
    """The optimizer that `config.optimizer` names; `matrices` are those of `parameters` that are for Muon, as it takes them."""
    lr, betas = config.learning_rate, (config.beta1, config.beta2)
    match config.optimizer:
        case "muon":
            decay = config.weight_decay
            return optim.Muon(parameters, matrices, lr, config.muon_factor * lr, betas=betas, weight_decay=decay)
        case "adam":
            return optim.Adam(parameters, lr, betas)
        case "sgd":
            return optim.SGD(parameters, lr, momentum=config.beta1)
    return optim.AdamW(parameters, lr, betas, weight_decay=config.weight_decay)


def learning_rate(config: TrainConfig, steps: int) -> float:
    """That of the update after so many others."""
    schedule = SCHEDULES[config.schedule]
    return schedule(steps, config.learning_rate, config.warmup_steps, config.steps, config.min_learning_rate)
