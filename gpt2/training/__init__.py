"""Training: one step (step.py), the loop of them (loop.py), and what is measured, resumed and replayed of it."""

from gpt2.training.loop import Result, train

__all__ = ["Result", "train"]
