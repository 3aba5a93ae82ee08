"""An engine, by what comes out of it: values, and gradients of everything that was made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

import tinygrad2
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Probe, Text


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    def run(label: str, f: Callable[..., Any], *arrays: Any) -> Iterator[Probe]:
        leaves = [theirs.Tensor(x) for x in arrays]
        out = f(*leaves)
        yield f"{label}: value", out.data
        loss = (out * theirs.Tensor(draw.normal(*np.shape(out.data)))).sum()
        loss.backward()
        for name, leaf in zip("abcd", leaves, strict=False):
            yield f"{label}: gradient of {name}", leaf.grad

    n = draw.normal
    yield from run("a + b", lambda a, b: a + b, n(2, 3), n(2, 3))
    yield from run("a + b, where b is broadcast", lambda a, b: a + b, n(2, 3), n(3))
    yield from run("a - b, where a is broadcast", lambda a, b: a - b, n(2, 1), n(2, 3))
    yield from run("a * b, where b is broadcast", lambda a, b: a * b, n(4, 2, 3), n(2, 1))
    yield from run("a / b", lambda a, b: a / b, n(2, 3), draw.uniform(1, 2, 2, 3))
    yield from run("a / b, where b is one number", lambda a, b: a / b, n(2, 3), draw.uniform(1, 2))
    yield from run("-a", lambda a: -a, n(2, 3))
    yield from run("2 * a - 3", lambda a: 2 * a - 3, n(2, 3))
    yield from run("1 + a * 3", lambda a: 1 + a * 3, n(2, 3))
    yield from run("1 - a / 4", lambda a: 1 - a / 4, n(2, 3))
    yield from run("2 / a + a", lambda a: 2 / a + a, draw.uniform(1, 2, 3))
    yield from run("a @ b", lambda a, b: a @ b, n(2, 3), n(3, 4))
    yield from run("a @ b, where a has a batch in front", lambda a, b: a @ b, n(2, 5, 3), n(3, 4))
    yield from run("a.sum()", lambda a: a.sum(), n(2, 3))
    yield from run("a.sum(axis=0)", lambda a: a.sum(axis=0), n(2, 3))
    yield from run("a.sum(axis=1)", lambda a: a.sum(axis=1), n(2, 3))
    yield from run("a.sum(axis=1, keepdims=True)", lambda a: a.sum(axis=1, keepdims=True), n(2, 3))
    yield from run("a.mean()", lambda a: a.mean(), n(2, 3))
    yield from run("a.mean(axis=-1, keepdims=True)", lambda a: a.mean(axis=-1, keepdims=True), n(2, 3, 4))
    yield from run("a.reshape(3, 4)", lambda a: a.reshape(3, 4), n(2, 6))
    yield from run("a.transpose(1, 0)", lambda a: a.transpose(1, 0), n(2, 3))
    yield from run("a.transpose(1, 2, 0)", lambda a: a.transpose(1, 2, 0), n(2, 3, 4))
    yield from run("a used three times: a * a + a", lambda a: a * a + a, n(2, 3))
    yield from run("a diamond: b = a * a, b * b + b", lambda a: (lambda b: b * b + b)(a * a), n(2, 3))
    square = theirs.op(lambda x: (x**2, x), lambda g, x: 2 * g * x)
    yield from run("op of one input", lambda a: square(a), n(2, 3))
    scaled = theirs.op(lambda x, k, y: (x * k + y * y, (k, y)), lambda g, c: (g * c[0], 2 * g * c[1]))
    yield from run("op of two Tensors and a number", lambda a, b: scaled(a, 3, b), n(2, 3), n(2, 3))
    yield from run("op, then used twice", lambda a: (lambda b: b + b * a)(square(a)), n(2, 3))
    a = theirs.Tensor(n(2, 3))
    (a * a).sum().backward()
    (3 * a).sum().backward()
    yield "gradients of two losses add up: gradient of a", a.grad


class Tensor(tinygrad2.Tensor):
    """tinygrad2's, which wants a gradient without being told."""

    def __new__(cls, data: Any) -> Any:
        return tinygrad2.Tensor(np.array(data), requires_grad=True)


def op(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """The pairs of this file, of which the forward functions can be differentiated as they are."""
    return lambda *args: forward(*args)[0]


EXERCISE = Exercise(
    week=2,
    minutes=120,
    show=show,
    ours=SimpleNamespace(Tensor=Tensor, op=op),
    idea=Text(
        "Begin with __init__, + and backward, and check; then one function after another. A Tensor needs its inputs, and a "
        "function from its gradient to theirs.",
        "先写 __init__、+ 和 backward 并检查，然后逐个函数添加。Tensor 需要记住它的输入，以及由自身梯度得到输入梯度的函数。",
    ),
    mistakes=[
        Mistake(
            "gradients[id(x)] = gradients[id(x)] + part if id(x) in gradients else part",
            "gradients[id(x)] = part",
            Text(
                "A gradient replaces the one before: those of all uses add up (+=, not =).",
                "梯度覆盖了之前的梯度：所有使用的梯度要相加（+= 而不是 =）。",
            ),
        ),
        Mistake(
            "node.grad = node.grad + g if node.grad is not None else g",
            "node.grad = g",
            Text(
                "A second backward replaces the gradient of the first; it is to be added.",
                "第二次 backward 覆盖了第一次的梯度；应当累加。",
            ),
        ),
        Mistake(
            "part = unbroadcast(part, x.shape)",
            "part = np.asarray(part)",
            Text(
                "What was broadcast is not summed: call unbroadcast for the gradient of every input.",
                "广播的部分没有求和：应对每个输入的梯度调用 unbroadcast。",
            ),
        ),
        Mistake(
            "(g * other.data, g * self.data)",
            "(g * self.data, g * other.data)",
            Text("The factors of a product are swapped: a gets g * b.", "乘积的两个因子弄反了：a 得到 g * b。"),
        ),
        Mistake(
            "-g * out / other.data",
            "g * out / other.data",
            Text("The sign of the gradient of a divisor: b gets -g * a / b**2.", "除数梯度的符号：b 得到 -g * a / b**2。"),
        ),
        Mistake(
            "return tensor(other) + -self",
            "return self + -tensor(other)",
            Text("number - Tensor gives Tensor - number.", "数 - Tensor 被算成了 Tensor - 数。"),
        ),
        Mistake(
            "g.transpose(np.argsort(axes))",
            "g.transpose(axes)",
            Text(
                "A transposition is undone by the inverse permutation (np.argsort), not by the same one.",
                "转置要用逆排列（np.argsort）还原，而不是同一个排列。",
            ),
        ),
        Mistake(
            "return total / (self.data.size / total.data.size)",
            "return total / self.data.size",
            Text(
                "A mean over an axis divides by the length of that axis, not by the number of all entries.",
                "沿某个轴取平均要除以该轴的长度，而不是元素总数。",
            ),
        ),
        Mistake(
            "np.broadcast_to(g.reshape(kept), self.shape)",
            "np.full(self.shape, g.sum())",
            Text(
                "A sum over an axis hands each entry the gradient of its own sum, not of all.",
                "沿轴求和时，每个元素得到的是它所在的那个和的梯度，而不是全部。",
            ),
        ),
        Mistake(
            "gradients = {id(self): np.ones_like(self.data)}",
            "gradients = {id(self): self.data}",
            Text(
                "The walk begins with 1, the gradient of the loss by itself, and not with the loss.",
                "反向从 1（loss 对自身的梯度）开始，而不是从 loss 的值开始。",
            ),
        ),
        Mistake(
            "return found if isinstance(found, tuple) else (found,)",
            "return (g,) * len(inputs)",
            Text(
                "op hands the gradient on as it is: call the backward function that it was given.",
                "op 把梯度原样传回：应调用给定的 backward 函数。",
            ),
        ),
    ],
)
