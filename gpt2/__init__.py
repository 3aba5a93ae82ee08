"""gpt2: a GPT-2 built by hand on tinygrad2, trained, checked and read."""

from gpt2.config import GPT2Config, TrainConfig
from gpt2.model import GPT2

__all__ = ["GPT2", "GPT2Config", "TrainConfig"]
