"""A gradient check of one's own, set on pairs and chains in which faults are planted by the seed."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Probe, Text
from tinygrad2.transforms import jvp, vjp
from tinygrad2.types import Array


class Pair(NamedTuple):
    """A function, its gradients, and the gradients of one who made a mistake in each of the arguments."""

    forward: Callable[..., Any]
    right: Callable[..., tuple[Array, ...]]
    wrong: Callable[..., tuple[Array, ...]]


def _softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def _through_softmax(g: Array, p: Array) -> Array:
    return np.asarray(p * (g - (g * p).sum(axis=-1, keepdims=True)))


PAIRS = {
    "product": Pair(lambda x, y: x * y, lambda g, x, y: (g * y, g * x), lambda g, x, y: (2 * g * y, -g * x)),
    "quotient": Pair(
        lambda x, y: x / (1 + y * y),
        lambda g, x, y: (g / (1 + y * y), -2 * g * x * y / (1 + y * y) ** 2),
        lambda g, x, y: (g * (1 + y * y), -g * x * y / (1 + y * y) ** 2),
    ),
    "matmul": Pair(lambda x, y: x @ y, lambda g, x, y: (g @ y.T, x.T @ g), lambda g, x, y: (g @ y.T / 3, x.T @ g * 3)),
    "softmax": Pair(  # where dout is 1 everywhere, both are 0
        lambda x, y: _softmax(x + y),
        lambda g, x, y: (_through_softmax(g, _softmax(x + y)),) * 2,
        lambda g, x, y: (2 * _through_softmax(g, _softmax(x + y)),) * 2,
    ),
    "reversed": Pair(  # where u is 1 everywhere, both are the same
        lambda x, y: (x * y)[::-1],
        lambda g, x, y: (g[::-1] * y, g[::-1] * x),
        lambda g, x, y: (g * y[::-1], g * x[::-1]),
    ),
    "unused": Pair(lambda x, y: 3 * x + 0 * y, lambda g, x, y: (3 * g, 0 * g), lambda g, x, y: (9 * g, 1e-3 * g)),
}
LAYERS: dict[str, Any] = {
    "tanh": (np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2), lambda g, x: g * (1 - np.tanh(x))),
    "shift": (lambda x: np.roll(x, 1), lambda g, x: np.roll(g, -1), lambda g, x: np.roll(g, 1)),
    "sum": (lambda x: x - x.sum() / 8, lambda g, x: g - g.sum() / 8, lambda g, x: g - g.sum()),
    "square": (lambda x: x - x * x / 4, lambda g, x: g * (1 - x / 2), lambda g, x: g * (1 + x)),
    "scale": (lambda x: 0.75 * x, lambda g, x: 0.75 * g, lambda g, x: 1.5 * g),
}
"""From x to the next x, and its rule, right and wrong."""
CLOSE = 1.000100015
"""So that a ten-thousandth of it is still enough, and one of 1 is not."""
NUMBERS = [(1.0, 1.0), (1.0, -1.0), (3.0, 3.0002), (3.0, 3.0004), (3.0004, 3.0), (-2.0, -2.0003), (0.0, 0.0), (0.0, 8e-9)]
NUMBERS += [(2e-8, 0.0), (1e-12, -1e-12), (0.5, 0.500045), (0.5, 0.49994), (-40.0, 40.0)]
NUMBERS += [(1.0, CLOSE), (CLOSE, 1.0), (-1.0, -CLOSE), (-CLOSE, -1.0)]


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    for measured, claimed in NUMBERS:
        yield f"agree({measured}, {claimed})", bool(theirs.agree(measured, claimed))
    for name, pair in PAIRS.items():
        for i in (0, 1):
            forward, backward = _paired(pair, wrong=i)
            args = _args(name, draw)
            dout, u = draw.normal(*np.shape(pair.forward(*args))), draw.normal(*args[i].shape)
            yield f"slopes of {name}, argument {i}", theirs.slopes(forward, backward, args, i, dout, u)
    some = [str(name) for name in draw.rng.permutation(list(PAIRS))]
    for turn, faulty in enumerate(([], ["softmax"], ["reversed"], some[:1], some[:4], some)):
        yield from found(theirs, draw, turn, faulty)
    for n in (1, 2, 3, 7, 8, 13):
        for fault in (None, 0, n - 1, int(draw.integers(n))):
            yield from probed(theirs, draw, n, fault)


def _args(name: str, draw: Inputs) -> tuple[Array, Array]:
    """Two arrays that a pair takes."""
    return draw.normal(2, 3), draw.normal(*((3, 4) if name == "matmul" else (2, 3)))


def _paired(pair: Pair, wrong: int | None = None) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Its forward, and its backward, which is wrong in one argument or in none."""

    def backward(g: Array, args: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple((pair.wrong if i == wrong else pair.right)(g, *args)[i] for i in (0, 1))

    return lambda *args: (pair.forward(*args), args), backward


def found(theirs: Any, draw: Inputs, turn: int, names: list[str]) -> Iterator[Probe]:
    """All pairs, of which some are wrong in one argument, and how often their functions were called."""
    faulty = {name: int(draw.integers(2)) for name in names}
    calls = 0

    def counted(forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            return forward(*args)

        return run

    pairs = {}
    for name, pair in PAIRS.items():
        forward, backward = _paired(pair, faulty.get(name))
        pairs[name] = counted(forward), backward, _args(name, draw)
    which = theirs.suspects(pairs, np.random.default_rng(turn))
    yield f"suspects among {len(pairs)} pairs with {len(names)} faults, turn {turn}", [tuple(one) for one in which]
    yield f"suspects: at most four calls of forward for each argument, turn {turn}", calls <= 4 * 2 * len(pairs)


def probed(theirs: Any, draw: Inputs, n: int, fault: int | None) -> Iterator[Probe]:
    """A chain of n layers, of which one is wrong or none, and how many probes were needed."""
    layers = [LAYERS[str(name)] for name in draw.rng.choice(list(LAYERS), n)]
    xs = [draw.uniform(0.1, 0.6, 4)]
    for layer in layers:
        xs.append(layer[0](xs[-1]))
    seen = _slopes_along(layers, xs, fault, draw)
    while not all(_clear(*seen[i], fault is not None and i <= fault) for i in seen):
        seen = _slopes_along(layers, xs, fault, draw)
    probes = 0

    def probe(i: int) -> tuple[float, float]:
        nonlocal probes
        probes += 1
        return seen[i]

    label = f"{n} layers, {'no fault' if fault is None else f'a fault in layer {fault}'}"
    yield f"faulty_layer: {label}", theirs.faulty_layer(n, probe)
    most = math.ceil(math.log2(n + 1))
    yield f"faulty_layer: at most {most} probes of {label}", probes <= most


def _slopes_along(layers: Any, xs: list[Array], fault: int | None, draw: Inputs) -> dict[int, tuple[float, float]]:
    """For each x of a chain, along a random direction: the slope of a sum of the last, and what the gradients claim."""
    right = claimed = draw.normal(4)
    u = draw.normal(4)
    seen = {len(layers): (float(right @ u), float(claimed @ u))}
    for i in reversed(range(len(layers))):
        _, rule, wrong = layers[i]
        right, claimed = rule(right, xs[i]), (wrong if i == fault else rule)(claimed, xs[i])
        seen[i] = float(right @ u), float(claimed @ u)
    return seen


def _clear(measured: float, claimed: float, wrong: bool) -> bool:
    """Whether nobody could take these slopes for the other case."""
    return not wrong or abs(measured - claimed) > 0.01 * max(abs(measured), abs(claimed))


def agree(measured: float, claimed: float) -> bool:
    """By the largest and the smallest claim that would still do."""
    room = max(abs(measured), abs(claimed)) / 10_000 + 1 / 10**8
    return measured - room <= claimed <= measured + room


def slopes(forward: Any, backward: Any, args: Any, i: int, dout: Array, u: Array) -> tuple[Any, Any]:
    """By automatic differentiation of the forward function, along u."""
    _, rise = jvp(lambda x: forward(*args[:i], x, *args[i + 1 :])[0], args[i], u)
    return np.vdot(dout, np.asarray(rise)), np.vdot(u, backward(dout, forward(*args)[1])[i])


def suspects(pairs: dict[str, Any], rng: np.random.Generator) -> list[tuple[str, int]]:
    """All entries of all gradients, by automatic differentiation."""
    wrong = []
    for name, (forward, backward, args) in pairs.items():
        out, pull = vjp(lambda *xs, forward=forward: forward(*xs)[0], *args)
        dout = rng.standard_normal(out.shape)
        claims = backward(dout, forward(*args)[1])
        wrong += [(name, i) for i, g in enumerate(pull(dout)) if not np.allclose(claims[i], np.asarray(g), atol=1e-8)]
    return wrong


def faulty_layer(n: int, probe: Callable[[int], tuple[float, float]]) -> int | None:
    """By the search of the standard library."""
    first = bisect.bisect_left(range(n), True, key=lambda i: agree(*probe(i)))
    return first - 1 if first else None


FRONT = """    for i in range(n + 1):
        if agree(*probe(i)):
            return i - 1 if i else None
    low, high = 0, n"""

EXERCISE = Exercise(
    week=6,
    minutes=75,
    show=show,
    ours=SimpleNamespace(agree=agree, slopes=slopes, suspects=suspects, faulty_layer=faulty_layer),
    tolerance=1e-7,
    idea=Text(
        "Begin with agree and slopes: forward at args[i] + h u and at args[i] - h u, the other arguments as they are. Then "
        "suspects is two loops. For the chain, keep two numbers: behind the last place known to be wrong, and the first known "
        "to be right.",
        "先写 agree 和 slopes：在 args[i] + h u 和 args[i] - h u 处调用 forward，其他参数不变。suspects 就是两重循环。"
        "对于链，记住两个数：已知有错的最后一处，和已知正确的第一处。",
    ),
    mistakes=[
        Mistake(
            "return abs(measured - claimed) <= 1e-8 + 1e-4 * max(abs(measured), abs(claimed))",
            "return abs(measured - claimed) <= 1e-8",
            Text(
                "The numbers are compared absolutely: large slopes never agree to 1e-8. Add a ten-thousandth of the larger.",
                "只按绝对误差比较：较大的斜率永远达不到 1e-8。应加上较大者的万分之一。",
            ),
        ),
        Mistake(
            "1e-8 + 1e-4 * max(abs(measured), abs(claimed))",
            "1e-4 * max(abs(measured), abs(claimed))",
            Text(
                "The numbers are compared relatively: where a gradient is 0, differences give 1e-12, far off. Add 1e-8.",
                "只按相对误差比较：梯度为 0 时差分给出 1e-12，相对误差很大。应加上 1e-8。",
            ),
        ),
        Mistake(
            "return abs(measured - claimed) <= 1e-8 + 1e-4 * max(abs(measured), abs(claimed))",
            "return measured - claimed <= 1e-8 + 1e-4 * max(abs(measured), abs(claimed))",
            Text(
                "The sign of the difference counts: a claim that is far too large passes. Take its absolute value.",
                "差的符号没有去掉：过大的声称值也会通过。应取绝对值。",
            ),
        ),
        Mistake(
            "below, _ = forward(*args[:i], args[i] - h * u, *args[i + 1 :])",
            "below, _ = forward(*args[:i], args[i] - 0 * u, *args[i + 1 :])",
            Text(
                "The difference is taken on one side only, over h, and divided by 2 h: move to args[i] - h u as well.",
                "只在一侧取了差分，跨度为 h，却除以 2 h：还应移动到 args[i] - h u。",
            ),
        ),
        Mistake(
            "np.sum(dout * (above - below)) / (2 * h)",
            "np.sum(dout * (above - below)) / h",
            Text("From -h to h it is 2 h; the difference is divided by h.", "从 -h 到 h 的跨度是 2 h，而差只除以了 h。"),
        ),
        Mistake(
            "np.sum(dout * (above - below)) / (2 * h)",
            "np.sum(above - below) / (2 * h)",
            Text(
                "The measured slope is that of the plain sum of the result; weight it with dout, as backward does.",
                "测得的是结果直接求和的斜率；应像 backward 那样用 dout 加权。",
            ),
        ),
        Mistake(
            "np.sum(gradients[i] * u)",
            "np.sum(gradients[i])",
            Text(
                "The claimed slope leaves out the direction: it is the sum of gradient * u.",
                "声称的斜率没有用方向：应为梯度 * u 之和。",
            ),
        ),
        Mistake(
            "np.sum(gradients[i] * u)",
            "np.sum(gradients[0] * u)",
            Text(
                "The gradient of the first argument is read whatever argument moves.",
                "无论移动哪个参数，读的都是第一个参数的梯度。",
            ),
        ),
        Mistake(
            "u = rng.standard_normal(x.shape)",
            "u = np.ones(x.shape)",
            Text(
                "All entries move by the same: a gradient whose entries are in the wrong order has the same sum. Draw u.",
                "所有元素移动相同的量：元素次序弄错的梯度，其和不变。u 应随机抽取。",
            ),
        ),
        Mistake(
            "dout = rng.standard_normal(out.shape)",
            "dout = np.ones(out.shape)",
            Text(
                "dout is 1 everywhere: softmax adds up to 1 whatever happens, so that no fault of it shows. Draw dout.",
                "dout 处处为 1：softmax 之和总为 1，它的错误显现不出来。dout 应随机抽取。",
            ),
        ),
        Mistake(
            "found.append((name, i))",
            "return [(name, i)]",
            Text("It stops at the first fault; there may be several.", "找到第一个错误就停了；可能有好几个。"),
        ),
        Mistake(
            "        for i, x in enumerate(args):\n",
            "        for i, x in enumerate(args[:1]):\n",
            Text(
                "Only the first argument is looked at; each has a gradient of its own.",
                "只看了第一个参数；每个参数都有自己的梯度。",
            ),
        ),
        Mistake(
            "    low, high = 0, n",
            FRONT,
            Text(
                "One layer after another is probed: up to n probes. Begin in the middle: what is found there settles one half.",
                "逐层探测，最多需要 n 次。应从中间开始：那里的结果能排除一半。",
            ),
        ),
        Mistake(
            "    low, high = 0, n",
            "    low, high = 0, n - 1",
            Text(
                "The last layer is never suspected: x_n is right, so the first right place is one of 0 to n.",
                "最后一层从不被怀疑：x_n 是对的，所以第一个正确之处在 0 到 n 之间。",
            ),
        ),
        Mistake(
            "return low - 1 if low else None",
            "return low if low < n else None",
            Text(
                "Off by one: where x_i is the first that is right, layer i - 1 is to blame, which makes the "
                "gradient of x_(i-1).",
                "差一：若 x_i 是第一个正确的，出错的是第 i - 1 层，它把梯度传给 x_(i-1)。",
            ),
        ),
        Mistake(
            "return low - 1 if low else None",
            "return low - 1",
            Text("Where all is right it returns -1; return None.", "全部正确时返回了 -1；应返回 None。"),
        ),
    ],
)
