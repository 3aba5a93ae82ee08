"""A scalar engine, by what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad2 import Tensor, autograd
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    def run(label: str, f: Callable[..., Any]) -> Iterator[Probe]:
        a, b = theirs.Value(draw.number(1.2, 2)), theirs.Value(draw.number(-3, -2))
        out = f(a, b)
        yield f"{label}: data", float(out.data)
        yield f"{label}: gradient of a before backward", float(a.grad)
        out.backward()
        yield f"{label}: gradient of a", float(a.grad)
        yield f"{label}: gradient of b", float(b.grad)
        yield f"{label}: gradient of itself", float(out.grad)

    yield from run("a + b", lambda a, b: a + b)
    yield from run("a * b", lambda a, b: a * b)
    yield from run("a.exp(), without b", lambda a, b: a.exp())
    yield from run("a + 3.0", lambda a, b: a + 3.0)
    yield from run("3.0 + a", lambda a, b: 3.0 + a)
    yield from run("a * 3.0", lambda a, b: a * 3.0)
    yield from run("3.0 * a", lambda a, b: 3.0 * a)
    yield from run("a * b + b.exp()", lambda a, b: a * b + b.exp())
    yield from run("(a * b).exp() * a", lambda a, b: (a * b).exp() * a)
    yield from run("a * a", lambda a, b: a * a)
    yield from run("a + a", lambda a, b: a + a)
    yield from run("d = a * b + a", lambda a, b: a * b + a)
    yield from run("d = a + a * b", lambda a, b: a + a * b)
    yield from run("a diamond: c = a * b, c * c + c", lambda a, b: (lambda c: c * c + c)(a * b))
    yield from run("c = a * b, d = c * a, c + d * d", lambda a, b: (lambda c: (lambda d: c + d * d)(c * a))(a * b))
    yield from run("c = a * b, d = c * a, d * d + c", lambda a, b: (lambda c: (lambda d: d * d + c)(c * a))(a * b))
    yield from run("twelve times a = a + 0.1 * a", lambda a, b: ladder(a, 12))
    yield from run("a chain of 100 additions", lambda a, b: sum((b for _ in range(100)), start=a))

    def two_results_of_one_c(x: float, y: float) -> dict[str, float]:
        a, b = theirs.Value(x), theirs.Value(y)
        c = a * b
        d, e = c + a, c * 3.0
        d.backward()
        found = {"c = a * b, d = c + a, after d.backward(): gradient of c": float(c.grad)}
        e.backward()
        for name, one in zip("abcde", (a, b, c, d, e), strict=True):
            found[f"and e = c * 3.0, after e.backward() too: gradient of {name}"] = float(one.grad)
        return found

    yield Call(two_results_of_one_c, draw.number(1, 2), draw.number(2, 3))


def ladder(a: Any, rungs: int) -> Any:
    """Every rung uses the one before twice: there are 2**rungs paths."""
    for _ in range(rungs):
        a = a + 0.1 * a
    return a


class Value:
    """A Tensor that holds one number, with the gradients of what was made from it too."""

    def __init__(self, data: Any, inputs: tuple[Value, ...] = ()) -> None:
        self.tensor = data if isinstance(data, Tensor) else Tensor(np.float64(data), requires_grad=True)
        self.data = float(self.tensor.data)
        self.grad = 0.0
        self.inputs = inputs

    def __add__(self, other: Any) -> Value:
        return Value(self.tensor + getattr(other, "tensor", other), (self, other))

    def __mul__(self, other: Any) -> Value:
        return Value(self.tensor * getattr(other, "tensor", other), (self, other))

    __radd__, __rmul__ = __add__, __mul__

    def exp(self) -> Value:
        """e to the power of it."""
        return Value(np.exp(self.tensor), (self,))

    def backward(self) -> None:
        """Add to every gradient what `autograd.grad` says."""
        found, left = {id(self): self}, [self]
        while left:
            new = {id(x): x for x in left.pop().inputs if isinstance(x, Value) and id(x) not in found}
            found |= new
            left += new.values()
        everything = list(found.values())
        gradients = autograd.grad(self.tensor, [x.tensor for x in everything], retain_graph=True)
        for x, g in zip(everything, gradients, strict=True):
            x.grad += float(g.data)


REPLACED = Text(
    "A gradient replaces the one before: those of all uses add up (+=, not =).",
    "梯度覆盖了之前的梯度：所有使用的梯度要相加（+= 而不是 =）。",
)
ORDER = """
    def order(self):
        found, seen, stack = [], set(), [(self, False)]
        while stack:
            node, done = stack.pop()
            if done:
                found.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack += [(x, False) for x in """
"""Which use comes last depends on the order: the inputs may be visited from the left or from the right."""

WALK = """\
        parts = {id(self): 1.0}  # what each has got so far, in this walk
        for node in self.order():
            g = parts[id(node)]
            node.grad = node.grad + g
            for x, slope in zip(node.inputs, node.slopes, strict=True):
                parts[id(x)] = parts.get(id(x), 0.0) + g * slope
"""
AT_ONCE = """\
        left, found = [self], set()  # each hands on as soon as it is found
        self.grad = self.grad + 1.0
        while left:
            node = left.pop({take})
            if id(node) in found:
                continue
            found.add(id(node))
            for x, slope in zip(node.inputs, node.slopes, strict=True):
                x.grad = x.grad + node.grad * slope
            left.extend({inputs})
"""
FOR_EACH = AT_ONCE.replace("            found.add(id(node))\n", "").replace("as soon as it is found", "once for each use")
PUSH = """\
        def push(node):  # hands on once for each use
            for x, slope in zip(node.inputs, node.slopes, strict=True):
                x.grad = x.grad + node.grad * slope
                push(x)

        self.grad = self.grad + 1.0
        push(self)
"""
ORDERS = [("0", "node.inputs"), ("", "node.inputs"), ("", "reversed(node.inputs)")]
"""First come, first served; or the last one first, from the right or from the left."""
TOO_EARLY = Text(
    "Each Value hands its gradient on as soon as it is found, though other uses of it have not handed theirs to it yet.",
    "每个 Value 一被找到就把梯度传下去，而它的其他使用还没有把梯度传给它。",
)
TOO_OFTEN = Text(
    "Each Value hands on what is in its grad whenever a use of it has added to it, before it is complete and more than "
    "once: wait for all uses, then hand it on once.",
    "每当有一次使用加上梯度，Value 就把 grad 中的值传下去：此时它还不完整，而且会传多次。应等到所有使用都传来之后，再传一次。",
)
TAPE = """\
        tape = self.tape  # with what was computed for other results too
        self.grad = self.grad + 1.0
        for node in reversed(tape):
            for x, slope in zip(node.inputs, node.slopes, strict=True):
                x.grad = x.grad + node.grad * slope

    tape = []

    def __new__(cls, *args):
        node = super().__new__(cls)
        cls.tape.append(node)
        return node
"""

EXERCISE = Exercise(
    week=1,
    minutes=75,
    show=show,
    ours=SimpleNamespace(Value=Value),
    idea=Text(
        "Begin with __init__ and +, which keeps its two inputs, and with a backward that only sets its own grad to 1. Then "
        "hand it on: to each input, your gradient times the derivative by that input.",
        "先写 __init__ 和会记住两个输入的 +，以及只把自身 grad 设为 1 的 backward。然后往下传：每个输入得到自身的"
        "梯度乘以对该输入的导数。",
    ),
    mistakes=[
        Mistake(
            "parts[id(x)] = parts.get(id(x), 0.0) + g * slope",
            "parts[id(x)] = g * slope",
            REPLACED,
        ),
        Mistake(
            f"parts[id(x)] = parts.get(id(x), 0.0) + g * slope\n{ORDER}node.inputs]\n",
            f"parts[id(x)] = g * slope\n{ORDER}reversed(node.inputs)]\n",
            REPLACED,
        ),
        Mistake(
            "node.grad = node.grad + g",
            "node.grad = g",
            Text(
                "A second backward replaces the gradients of the first; it is to add to them.",
                "第二次 backward 覆盖了第一次的梯度；应当累加。",
            ),
        ),
        Mistake(
            "            g = parts[id(node)]\n            node.grad = node.grad + g\n",
            "            node.grad = node.grad + parts[id(node)]\n            g = node.grad\n",
            Text(
                "A second backward hands on what is left in grad of the first one as well: c.grad counts twice for a and b. "
                "Keep the gradients of one walk apart, and add them to grad at the end.",
                "第二次 backward 把第一次留在 grad 里的值又传了一遍：c.grad 在 a 和 b 中被重复计算。每次反向的梯度应分开保存，"
                "最后再加到 grad 上。",
            ),
        ),
        Mistake(
            "(self, other), (other.data, self.data)",
            "(self, other), (self.data, other.data)",
            Text("The factors of a product are swapped: a gets g * b.data.", "乘积的两个因子弄反了：a 得到 g * b.data。"),
        ),
        Mistake(
            "return Value(out, (self,), (out,))",
            "return Value(out, (self,), (self.data,))",
            Text(
                "The derivative of exp(a) is exp(a), the result, and not a.", "exp(a) 的导数是 exp(a)，即结果本身，而不是 a。"
            ),
        ),
        Mistake(
            "return Value(out, (self,), (out,))",
            "return Value(out, (self,), (1.0,))",
            Text(
                "exp hands the gradient on as it is: it is to be multiplied by exp(a).",
                "exp 把梯度原样传回：应乘以 exp(a)。",
            ),
        ),
        Mistake(
            "(self, other), (1.0, 1.0)",
            "(self, other), (other.data, self.data)",
            Text(
                "The derivatives of a sum are 1 and 1; these are those of a product.",
                "和的导数是 1 和 1；这里用的是积的导数。",
            ),
        ),
        Mistake(
            "    __rmul__ = __mul__\n",
            "",
            Text(
                "3.0 * a is not defined: Python asks a.__rmul__(3.0), where the number is on the left.",
                "没有定义 3.0 * a：数在左边时，Python 会调用 a.__rmul__(3.0)。",
            ),
        ),
        Mistake(
            "    __radd__ = __add__\n",
            "",
            Text(
                "3.0 + a is not defined: Python asks a.__radd__(3.0), where the number is on the left.",
                "没有定义 3.0 + a：数在左边时，Python 会调用 a.__radd__(3.0)。",
            ),
        ),
        Mistake(
            "return x if isinstance(x, Value) else Value(x)",
            "return x",
            Text(
                "a + 3.0: a plain number has no data; make a Value of it first.",
                "a + 3.0：普通的数没有 data；应先把它变成 Value。",
            ),
        ),
        Mistake(
            "parts = {id(self): 1.0}",
            "parts = {id(self): self.data}",
            Text(
                "The walk begins with 1, the derivative of the result by itself, and not with the result.",
                "反向从 1（结果对自身的导数）开始，而不是从结果的值开始。",
            ),
        ),
        Mistake(
            "parts[id(x)] = parts.get(id(x), 0.0) + g * slope",
            "parts[id(x)] = parts.get(id(x), 0.0) + slope",
            Text(
                "The chain rule is missing: the derivative by an input is to be multiplied by the gradient of the result.",
                "缺少链式法则：对输入的导数要乘以结果的梯度。",
            ),
        ),
        Mistake(
            "            if done:\n                found.append(node)\n            elif id(node) not in seen:\n"
            "                seen.add(id(node))\n                stack.append((node, True))\n",
            "            if id(node) not in seen:  # and enters the order at once\n"
            "                seen.add(id(node))\n                found.insert(0, node)\n",
            TOO_EARLY,
        ),
        Mistake(
            "stack += [(x, False) for x in node.inputs]",
            "stack += [(x, False) for x in node.inputs if node is self]",
            Text(
                "backward stops after one step: the inputs of the inputs get nothing.",
                "backward 只走了一步：输入的输入没有得到梯度。",
            ),
        ),
        Mistake(
            "        self.grad = 0.0\n",
            "        self.grad = 1.0\n",
            Text(
                "grad begins with 0.0 in every Value; only the result of backward gets 1.",
                "每个 Value 的 grad 都从 0.0 开始；只有调用 backward 的结果得到 1。",
            ),
        ),
        Mistake(
            "            if done:\n                found.append(node)\n            elif id(node) not in seen:\n"
            "                seen.add(id(node))\n                stack.append((node, True))\n"
            "                stack += [(x, False) for x in node.inputs]\n",
            "            if id(node) not in seen:\n                seen.add(id(node))\n"
            "                found.insert(0, node)\n"
            "                stack += [(x, False) for x in reversed(node.inputs)]\n",
            TOO_EARLY,
        ),
        Mistake(
            "            node, done = stack.pop()\n            if done:\n                found.append(node)\n"
            "            elif id(node) not in seen:\n                seen.add(id(node))\n"
            "                stack.append((node, True))\n"
            "                stack += [(x, False) for x in node.inputs]\n",
            "            node, done = stack.pop(0)\n            if id(node) not in seen:\n"
            "                seen.add(id(node))\n                found.insert(0, node)\n"
            "                stack += [(x, False) for x in node.inputs]\n",
            Text(
                "That goes by the distance from the result: a Value that is near by one way and far by another hands "
                "its gradient on too early.",
                "这是按离结果的距离排序：若某个 Value 一条路近、另一条路远，它就过早地把梯度传下去。",
            ),
        ),
        *(Mistake(WALK, AT_ONCE.format(take=take, inputs=inputs), TOO_EARLY) for take, inputs in ORDERS),
        *(Mistake(WALK, FOR_EACH.format(take=take, inputs=inputs), TOO_OFTEN) for take, inputs in ORDERS),
        Mistake(WALK, PUSH, TOO_OFTEN),
        Mistake(
            WALK,
            TAPE,
            Text(
                "A second backward walks along the whole tape, and hands on once more what the first one left in grad, also "
                "that of results that it does not depend on. Keep the gradients of one walk apart, and add "
                "them to grad at the end.",
                "第二次 backward 沿整条 tape 走，把第一次留在 grad 里的值又传了一遍，包括与它无关的结果的梯度。"
                "每次反向的梯度应分开保存，最后再加到 grad 上。",
            ),
        ),
    ],
)
