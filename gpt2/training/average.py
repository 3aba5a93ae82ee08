"""Averaged weights, which often predict better than the last ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gpt2.model import GPT2
from tinygrad2.types import Array


class Average:
    """The exponential moving average of the weights of a model (Polyak & Juditsky, 1992); none where `decay` is 0."""

    def __init__(self, model: GPT2, decay: float) -> None:
        self.model, self.decay = model, decay
        self.weights = {name: p.data.copy() for name, p in model.named_parameters()} if decay else {}

    def update(self) -> None:
        """Take the weights as they are now into the average."""
        for name, p in self.model.named_parameters() if self.weights else ():
            average = self.weights[name]
            average += (1 - self.decay) * (p.data - average)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, the model has its averaged weights, if there are any."""
        own = {name: p.data for name, p in self.model.named_parameters() if name in self.weights}
        try:
            self._use(self.weights)
            yield
        finally:
            self._use(own)

    def _use(self, weights: dict[str, Array]) -> None:
        for name, p in self.model.named_parameters() if weights else ():
            p.data = weights[name]
