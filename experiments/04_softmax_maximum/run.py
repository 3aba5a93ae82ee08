"""Why subtract the maximum in softmax?

exp overflows long before the probabilities become extreme. Subtracting the largest logit changes nothing but that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track
from tinygrad2 import Tensor, ops

DTYPES = {"float64": np.float64, "float32": np.float32}


def naive(logits: Tensor, targets: Any) -> Tensor:
    """The cross-entropy as the formula says it: nothing is subtracted."""
    e = np.exp(logits)
    p = e / np.sum(e, axis=-1, keepdims=True)
    return -np.mean(np.log(p[np.arange(len(targets)), targets]))


def gradient(loss: Any, logits: Any, targets: Any) -> Any:
    x = Tensor(logits, requires_grad=True)
    with np.errstate(all="ignore"):
        loss(x, targets).backward()
    return x.grad.data


def exact(logits: Any, targets: Any) -> Any:
    """(p - y) / N in extended precision, where exp has room for all logits here."""
    x = logits.astype(np.longdouble)
    p = np.exp(x - x.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    p[np.arange(len(targets)), targets] -= 1
    return p / len(targets)


def overflow(dtype: Any) -> float:
    """The smallest x, to a millionth, whose exp is infinite: found by halving."""
    low, high = 0.0, 2000.0
    with np.errstate(over="ignore"):
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (low, middle) if np.isinf(np.exp(dtype(middle))) else (middle, high)
    return high


def measure(track: Track, quick: bool, control: bool) -> Result:
    sizes = [1.0, 10.0, 50.0, 80.0, 100.0, 300.0, 600.0, 1000.0] if quick else np.geomspace(1, 1e4, 41).tolist()
    stable = naive if control else ops.cross_entropy  # the control subtracts nothing
    result: Result = {"overflow": {name: overflow(dtype) for name, dtype in DTYPES.items()}, "sizes": sizes}
    for name, loss in (("stable", stable), ("naive", naive)):
        result[name] = {}
        for kind, dtype in DTYPES.items():
            errors = []
            for size in track(sizes):
                rng = np.random.default_rng(0)
                logits, targets = rng.uniform(0, size, (64, 10)), rng.integers(0, 10, 64)
                logits[np.arange(64), rng.integers(0, 10, 64)] = size  # the largest of each row
                logits = logits.astype(dtype)
                error = np.abs(gradient(loss, logits, targets) - exact(logits, targets)).max() * 64
                errors.append(float(error) if np.isfinite(error) else None)  # None: not a number
            result[name][kind] = errors
    return result


def first_lost(result: Result, kind: str) -> float:
    """The smallest size of the logits at which the naive gradient is not a number."""
    return min(size for size, error in zip(result["sizes"], result["naive"][kind], strict=True) if error is None)


def claims(result: Result) -> list[Claim]:
    found = result["overflow"]
    limits = {kind: float(np.log(np.finfo(dtype).max)) for kind, dtype in DTYPES.items()}
    worst = {kind: max((e if e is not None else np.inf) for e in result["stable"][kind]) for kind in DTYPES}
    most = result["sizes"][-1]
    lost = {kind: first_lost(result, kind) for kind in DTYPES}
    return [
        Claim(
            f"exp becomes infinite at {found['float64']:.2f} in float64 and at {found['float32']:.2f} in float32: the "
            "logarithms of the largest numbers that they have.",
            all(abs(found[kind] - limits[kind]) < 1e-4 for kind in DTYPES),
        ),
        Claim(
            f"From logits of {lost['float32']:.0f} on in float32, and of {lost['float64']:.0f} in float64, the gradient of the "
            "naive softmax is not a number.",
            all(limits[kind] * 0.9 < lost[kind] for kind in DTYPES),
        ),
        Claim(
            f"With the maximum subtracted it is p - y at every size up to {most:.0f}, to {worst['float64']:.1g} in float64 and "
            f"{worst['float32']:.1g} in float32.",
            worst["float64"] < 1e-12 and worst["float32"] < 1e-5,
        ),
    ]


def draw(result: Result, figure: Any) -> None:
    axes = figure.add_subplot()
    sizes = np.array(result["sizes"])
    for kind, color in (("float64", "tab:blue"), ("float32", "tab:orange")):
        for name, style in (("naive", "--"), ("stable", "-")):
            errors = np.array([np.nan if e is None else max(e, 1e-18) for e in result[name][kind]])
            label = f"{kind}, {'maximum subtracted' if name == 'stable' else 'naive'}"
            axes.plot(sizes, errors, style, color=color, label=label, linewidth=1.8 if name == "stable" else 1.2)
        limit = result["overflow"][kind]
        axes.axvline(limit, color=color, linewidth=1, linestyle=":")
        side = {"float64": "left", "float32": "right"}[kind]
        axes.text(limit, 2e-4, f" exp is infinite from {limit:.2f} on ", color=color, ha=side, va="bottom", fontsize=9)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="size of the logits",
        ylabel="largest error of the gradient, p - y",
        ylim=(1e-18, 1e-3),
    )
    axes.set_title("The gradient of a naive softmax ends where exp overflows")
    axes.legend(frameon=False, loc="center left")
    axes.grid(alpha=0.25)
