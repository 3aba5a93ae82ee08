"""Which step size for a gradient check?

A central difference, (f(x + h v) - f(x - h v)) / 2h, is off by h^2 f'''/6 because f is curved, and by about eps f / h because
f is rounded. A large step suffers from the one and a small step from the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track, interval
from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, autograd, no_grad
from tinygrad2.gradcheck.differences import DOUBLE, scatter, slopes

CONFIG = GPT2Config(vocab_size=11, max_seq_len=8, d_model=16, num_layers=1, num_heads=2)
STEPS = [float(10.0**k) for k in np.arange(-12, 0.1, 0.25)]
LEFT, RIGHT = (1e-10, 1e-7), (1e-4, 1e-2)  # where one of the two errors should be far above the other
EPS = float(np.finfo(np.float64).eps)


def derivatives(y: Tensor, parameters: list[Any], v: list[Any]) -> list[float]:
    """The first three derivatives along v: the slope, its slope, and the slope of that, all by backward passes."""
    found = []
    for _ in range(3):
        gradients = autograd.grad([y], parameters, create_graph=True, allow_unused=True)
        y = sum(np.sum(g * w) for g, w in zip(gradients, v, strict=True) if g is not None) + 0 * y
        found.append(y.item())
    return found


def along(parameters: list[Any], start: list[Any], v: list[Any], loss: Callable[[], Tensor], dtype: Any) -> Any:
    """t -> the loss at `start + t v`, computed in a dtype."""

    def line(t: float) -> Any:
        for p, x, w in zip(parameters, start, v, strict=True):
            p.data = x.astype(dtype) + t * w.astype(dtype)  # t is Python's own number, so that the dtype stays
        with no_grad():
            return loss().data.reshape(1)

    return line


def central(line: Callable[[float], Any], h: float) -> float:
    return (line(h).item() - line(-h).item()) / (2 * h)


def measure(track: Track, quick: bool, control: bool) -> Result:
    rows = []
    for seed in track(range(5 if quick else 10)):
        rng = np.random.default_rng(seed)
        ids, targets = rng.integers(CONFIG.vocab_size, size=(2, 2, 8))
        model = GPT2(CONFIG, seed=seed)
        parameters = model.parameters()
        start = [p.data for p in parameters]  # float32, so that both dtypes look at the same point

        def loss(model: GPT2 = model, ids: Any = ids, targets: Any = targets) -> Tensor:
            if control:  # a parabola: it has no third derivative
                return sum(np.sum(p * p + p) for p in model.parameters())
            return model.loss(ids, targets)

        found = []
        for _ in range(2 if quick else 6):
            v = [rng.standard_normal(x.shape).astype(np.float32) for x in start]
            length = np.sqrt(sum(np.sum(w * w) for w in v))
            v = [w / length for w in v]
            double, single = (along(parameters, start, v, loss, dtype) for dtype in (np.float64, np.float32))
            here = double(0.0)
            slope, _, third = derivatives(loss(), parameters, v)
            errors = [[central(line, h) - slope for h in STEPS] for line in (double, single)]
            noise, size = scatter(double, 1.0)  # what gradcheck does: several steps, and the best by its own estimate
            best = min(slopes(double, 1.0, noise, DOUBLE, here), key=lambda estimate: estimate.error[0])
            found.append((slope, *errors, third, best.value[0] - slope, best.error[0], size[0]))
        slope, *others = (np.sqrt(np.mean(np.square(part), axis=0)) for part in zip(*found, strict=True))
        rows.append([np.maximum(other / slope, 1e-18) for other in others])  # shares of the slope, never exactly 0
    double, single, third, extrapolated, estimated, size = (np.array(part) for part in zip(*rows, strict=True))
    predicted = np.square(STEPS) * third[:, None] / 6
    at = STEPS.index(1e-3)
    return {
        "steps": STEPS,
        "float64": [typical(error) for error in double.T],
        "float32": [typical(error) for error in single.T],
        "predicted": [typical(error) for error in predicted.T],
        "left_slopes": [exponent(error, LEFT) for error in double],
        "right_slopes": [exponent(error, RIGHT) for error in double],
        "not_predicted": list(np.abs(double / predicted - 1)[:, at]),
        "best_steps": [STEPS[k] for k in double.argmin(1)],
        "best_steps_in_theory": list(np.cbrt(3 * EPS * size / third)),  # where eps f / h + h^2 f'''/6 is smallest
        "best_errors": list(double.min(1)),
        "best_errors_float32": list(single.min(1)),
        "extrapolated": list(extrapolated),
        "estimated": list(estimated),
    }


def exponent(error: Any, between: tuple[float, float]) -> float:
    """k of the h^k that fits an error best, over a range of steps: the slope on logarithmic axes."""
    there = [k for k, h in enumerate(STEPS) if between[0] / 1.01 < h < between[1] * 1.01]
    return float(np.polyfit(np.log([STEPS[k] for k in there]), np.log(error[there]), 1)[0])


def typical(numbers: Any) -> float:
    """Their geometric mean."""
    return float(np.exp(np.mean(np.log(numbers))))


def lowest(result: Result, dtype: str) -> tuple[float, float]:
    """The step at which the typical error is smallest, and that error: what the figure marks."""
    k = int(np.argmin(result[dtype]))
    return result["steps"][k], result[dtype][k]


def claims(result: Result) -> list[Claim]:
    left, right = (interval(result[side]) for side in ("left_slopes", "right_slopes"))
    steps, theory = result["best_steps"], result["best_steps_in_theory"]
    (step, error), (step_float32, _) = lowest(result, "float64"), lowest(result, "float32")
    apart = float(np.exp(np.abs(np.log(np.divide(steps, theory))).max()))
    errors = result["best_errors"]
    worse = np.log10(np.divide(result["best_errors_float32"], errors))
    low, high = interval(worse)
    expected = 2 / 3 * np.log10(np.finfo(np.float32).eps / EPS)
    off, estimated = result["extrapolated"], result["estimated"]
    return [
        Claim(
            f"Right of the best step the error grows as the step to the power {np.mean(result['right_slopes']):.3f} "
            f"({right[0]:.3f} to {right[1]:.3f}): truncation, for which theory says 2.",
            right[0] > 1.8 and right[1] < 2.2,
        ),
        Claim(
            "There it is h^2 f'''/6, with the f''' of three backward passes: at h = 1e-3, to within "
            f"{max(result['not_predicted']):.1g} of it in all {len(steps)} models.",
            max(result["not_predicted"]) < 0.01,
        ),
        Claim(
            f"Left of it the error goes as the step to the power {np.mean(result['left_slopes']):.3f} "
            f"({left[0]:.3f} to {left[1]:.3f}): rounding, for which theory says -1.",
            left[0] > -1.2 and left[1] < -0.8,
        ),
        Claim(
            f"In float64 the best step is about {step:.0e}, and its error {error:.1e} of the slope; "
            f"theory, (3 eps f / f''')^(1/3), says {typical(theory):.0e}, and is off by a factor of {apart:.1f} at most.",
            1e-7 < step < 1e-4 and apart < 10,
        ),
        Claim(
            f"In float32 it is about {step_float32:.0e}, and its error 10^{np.mean(worse):.1f} "
            f"(10^{low:.1f} to 10^{high:.1f}) times as large; theory, the ratio of the eps to the 2/3, says 10^{expected:.1f}.",
            bool(worse.min() > 2),
        ),
        Claim(
            "gradcheck takes no step on trust: it extrapolates from three at a time, at eight sizes, and keeps what it "
            f"estimates to be best. That is off by {typical(off):.1e} of the slope, in no model by more than estimated.",
            all(np.less_equal(off, estimated)) and typical(off) < 1e-8,
        ),
    ]


def draw(result: Result, figure: Any) -> None:
    axes = figure.add_subplot()
    steps = result["steps"]
    for name, color in (("float32", "tab:orange"), ("float64", "tab:blue")):
        axes.plot(steps, result[name], color=color, label=name)
        step, error = lowest(result, name)
        axes.plot(step, error, "o", color=color)
        axes.annotate(f"{error:.1e} at {step:.0e}", (step, error), (-14, -12), textcoords="offset points", ha="right")
    axes.plot(steps, result["predicted"], "--", color="0.5", label="truncation in theory, h²f'''/6")
    axes.set(xscale="log", yscale="log", xlabel="step h, along a direction of length 1", ylabel="error over the slope")
    axes.set_ylim(1e-12, 1e5)
    axes.set_title("A gradient check has a best step: rounding to its left, truncation to its right")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
