"""Where the time of training steps goes: by op, forward and backward, and outside of all ops."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import kernels
from tinygrad2.ops import Op
from tinygrad2.optim import muon

Measured = tuple[str, float, int, float]
"""What ran, for how many seconds, how many bytes it read and wrote, and how many floating-point operations it took."""

WITHOUT_OP = ("adamw", "square_sum")
"""Kernels that are called between a backward and the next forward."""


class Profile:
    """Every call of an op while `watching`; several threads may call at once."""

    def __init__(self) -> None:
        self.calls: list[Measured] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While ops and kernels are timed."""
        ops = list(_subclasses(Op))
        before = [(op, vars(op).get("run"), vars(op)["vjp"], op.rules) for op in ops]
        current, orthogonalised = kernels.current, muon.orthogonalised
        timed = {name: self._timed(name, getattr(current, name)) for name in WITHOUT_OP}
        names = {name: getattr(current, name) for name in dir(current) if not name.startswith("__")}
        for op in ops:
            op.run = self._timed(op.name, op.run)  # type: ignore[method-assign]
            op.vjp = staticmethod(self._timed(f"{op.name} backward", op.vjp))
            op.rules = op.rules and tuple(self._timed(f"{op.name} backward", rule) for rule in op.rules)
        kernels.current = SimpleNamespace(**{**names, **timed})
        muon.orthogonalised = self._timed("orthogonalised", orthogonalised)
        try:
            yield
        finally:
            kernels.current, muon.orthogonalised = current, orthogonalised
            for op, run, vjp, rules in before:
                op.vjp, op.rules = vjp, rules
                if run is None:
                    del op.run
                else:
                    op.run = run  # type: ignore[method-assign]

    def _timed(self, name: str, f: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **params: Any) -> Any:
            start = time.perf_counter()
            out = f(*args, **params)
            seconds = time.perf_counter() - start
            self.calls.append((name, seconds, _bytes(args) + _bytes(out), _flops(name, args)))
            return out

        return timed

    def table(self, seconds: float, shards: int, threads: int) -> dict[str, Any]:
        """By op, per step of `seconds`, and the share outside.

        `shards` is how many of them were worked on at a time, and `threads` how many of those share the matrices of Muon.
        """
        at_once = dict.fromkeys(WITHOUT_OP, 1) | {"orthogonalised": threads}
        rows: dict[str, list[float]] = {}
        for name, spent, size, flops in self.calls:
            row = rows.setdefault(name, [0, 0.0, 0, 0.0])
            for i, value in enumerate((1, spent / at_once.get(name, shards), size, flops)):
                row[i] += value
        return {
            "ops": [
                {
                    "op": name,
                    "calls": int(count),
                    "ms": round(1e3 * spent, 3),
                    "share": round(spent / seconds, 4),
                    "gflops": round(flops / spent / shards / 1e9, 1) if flops else None,
                    "mb": round(size / 2**20, 2),
                }
                for name, (count, spent, size, flops) in sorted(rows.items(), key=lambda item: -item[1][1])
            ],
            "outside": round(1 - sum(row[1] for row in rows.values()) / seconds, 4),
        }


def _subclasses(cls: type[Op]) -> Iterator[type[Op]]:
    """Every op there is."""
    for op in cls.__subclasses__():
        if "vjp" in vars(op):
            yield op
        yield from _subclasses(op)


def _bytes(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes, value))
    return value.nbytes if isinstance(value, np.ndarray) and any(value.strides) else 0


def _flops(name: str, args: Any) -> float:
    """Of the products of matrices in an op; those that a causal mask hides do not count."""
    times = 2 if name.endswith("backward") else 1
    arrays = [a for a in (args[0] if times == 1 and isinstance(args[0], tuple) else args[2:]) if isinstance(a, np.ndarray)]
    match name.removesuffix(" backward"):
        case "linear":
            return 2.0 * times * arrays[0].size * arrays[1].shape[1]
        case "linear_cross_entropy":
            return 6.0 * arrays[0].size * len(arrays[1]) if times == 1 else 0.0
        case "causal_attention":
            T = arrays[0].shape[-2]
            return 4.0 * (2.5 if times == 2 else 1) * (arrays[0].size / 3) * (T + 1) / 2
    return 0.0
