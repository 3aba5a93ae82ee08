"""Looking at a graph: every number of a backward pass, where it came from, and what it would be if a rule were wrong.

>>> from tinygrad2 import Tensor, study
>>> x = Tensor([1.0, 2.0], requires_grad=True)
>>> with study.record():
...     loss = (x * x).sum()
>>> [value.full_name for value in study.Trace(loss).values]
['x', 'multiply', 'sum']
"""

from tinygrad2.study.drawing import Drawing, draw
from tinygrad2.study.edges import Part, Split, split
from tinygrad2.study.explain import explain
from tinygrad2.study.lab import lab
from tinygrad2.study.memory import Kept, Ledger, ledger
from tinygrad2.study.recording import Value, record
from tinygrad2.study.trace import Backward, Contribution, Trace

__all__ = [
    "Backward",
    "Contribution",
    "Drawing",
    "Kept",
    "Ledger",
    "Part",
    "Split",
    "Trace",
    "Value",
    "draw",
    "explain",
    "lab",
    "ledger",
    "record",
    "split",
]
