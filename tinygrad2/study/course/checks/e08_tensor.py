"""An engine, by what comes out of it: values, and gradients of what was made by hand and of what was computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

import tinygrad2
from tinygrad2.ops import Fused
from tinygrad2.study.course.exercise import Call, Exercise, Inputs, Mistake, Probe, Text


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    def run(label: str, f: Callable[..., Any], *arrays: Any) -> Iterator[Probe]:
        leaves = [theirs.Tensor(x) for x in arrays]
        out = f(*leaves)
        yield f"{label}: value", out.data
        yield f"{label}: shape", tuple(out.shape)
        loss = (out * theirs.Tensor(draw.normal(*np.shape(out.data)))).sum()
        loss.backward()
        for name, leaf in zip("abcd", leaves, strict=False):
            yield f"{label}: gradient of {name}", gradient(leaf)

    n = draw.normal
    yield from run("a + b", lambda a, b: a + b, n(2, 3), n(2, 3))
    yield from run("a + b, where b is broadcast", lambda a, b: a + b, n(2, 3), n(3))
    yield from run("a - b, where a is broadcast", lambda a, b: a - b, n(2, 1), n(2, 3))
    yield from run("a * b, where b is broadcast", lambda a, b: a * b, n(4, 2, 3), n(2, 1))
    yield from run("a * b, where a is broadcast", lambda a, b: a * b, n(3), n(2, 3))
    yield from run("a / b", lambda a, b: a / b, n(2, 3), draw.uniform(1, 2, 2, 3))
    yield from run("a / b, where b is broadcast", lambda a, b: a / b, n(2, 3), draw.uniform(1, 2, 3))
    yield from run("a / b, where a is broadcast", lambda a, b: a / b, n(2, 1), draw.uniform(1, 2, 2, 3))
    yield from run("a / b, where b is one number", lambda a, b: a / b, n(2, 3), draw.uniform(1, 2))
    yield from run("-a", lambda a: -a, n(2, 3))
    yield from run("2 * a - 3", lambda a: 2 * a - 3, n(2, 3))
    yield from run("1 + a * 3", lambda a: 1 + a * 3, n(2, 3))
    yield from run("1 - a / 4", lambda a: 1 - a / 4, n(2, 3))
    yield from run("2 + a", lambda a: 2 + a, n(2, 3))
    yield from run("a - 2", lambda a: a - 2, n(2, 3))
    yield from run("2 - a", lambda a: 2 - a, n(2, 3))
    yield from run("a / 2", lambda a: a / 2, n(2, 3))
    yield from run("2 / a", lambda a: 2 / a, draw.uniform(1, 2, 2, 3))
    yield from run("2 / a + a", lambda a: 2 / a + a, draw.uniform(1, 2, 3))
    yield from run("a @ b", lambda a, b: a @ b, n(2, 3), n(3, 4))
    yield from run("a @ b, where a has a batch in front", lambda a, b: a @ b, n(2, 5, 3), n(3, 4))
    yield from run("a.sum()", lambda a: a.sum(), n(2, 3))
    yield from run("a.sum(axis=0)", lambda a: a.sum(axis=0), n(2, 3))
    yield from run("a.sum(axis=1)", lambda a: a.sum(axis=1), n(2, 3))
    yield from run("a.sum(axis=1, keepdims=True)", lambda a: a.sum(axis=1, keepdims=True), n(2, 3))
    yield from run("a.sum(axis=1), of three axes", lambda a: a.sum(axis=1), n(2, 3, 4))
    yield from run("a.sum(axis=-1), of three axes", lambda a: a.sum(axis=-1), n(2, 2, 2))
    yield from run("a.mean()", lambda a: a.mean(), n(2, 3))
    yield from run("a.mean(axis=1), of three axes", lambda a: a.mean(axis=1), n(2, 3, 4))
    yield from run("a.mean(axis=-1), of three axes", lambda a: a.mean(axis=-1), n(2, 2, 2))
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
    yield "Tensor([1, 2]): data", theirs.Tensor([1, 2]).data
    a = theirs.Tensor(n(2, 3))
    (a * a).sum().backward()
    (3 * a).sum().backward()
    yield "gradients of two losses add up: gradient of a", gradient(a)
    yield from two_losses(theirs, draw)
    yield from large_graphs(theirs, draw)


def two_losses(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    """They share c, so that what the first leaves in c.grad must not be handed on by the second."""

    def two_losses_of_one_c(x: Any, y: Any) -> dict[str, Any]:
        a, b = theirs.Tensor(x), theirs.Tensor(y)
        c = kept(a * b)
        backward(c.sum())
        found = {
            f"c = a * b, after c.sum().backward(): gradient of {name}": gradient(one)
            for name, one in zip("ca", (c, a), strict=True)
        }
        backward((c * 2).sum())
        for name, one in zip("cab", (c, a, b), strict=True):
            found[f"and after (c * 2).sum().backward() too: gradient of {name}"] = gradient(one)
        return found

    yield Call(two_losses_of_one_c, draw.normal(2, 3), draw.normal(3))


def large_graphs(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    """Some with many paths, and one that is deep. How often backward is called says whether a larger one would ever end.

    Both uses of a hand on the same, so that it does not matter which of them comes last.
    """
    calls = []

    def counted(g: Any, cache: Any) -> Any:
        calls.append(cache)
        return 1.0 * g

    same = theirs.op(lambda x: (1.0 * x, None), counted)

    def after(times: int, step: Callable[[Any], Any], x: Any) -> Any:
        a = out = theirs.Tensor(x)
        for _ in range(times):
            out = step(out)
        out.sum().backward()
        return gradient(a)

    def twice(a: Any) -> Any:
        return 0.75 * a + 0.75 * a

    def ladder_of_6_rungs(x: Any) -> dict[str, Any]:
        found = {"gradient of a": after(6, lambda a: twice(same(a)), x)}
        return {**found, "how often the backward function of an op in each rung is called": len(calls)}

    def ladder_of_40_rungs(x: Any) -> Any:
        return after(40, twice, x)

    def chain_of_3000_additions(x: Any) -> Any:
        return after(3000, lambda a: a + 0.5, x)

    yield Call(ladder_of_6_rungs, draw.normal(2))
    if len(calls) == 6:  # or there may be no end to what follows
        yield Call(ladder_of_40_rungs, draw.normal(2))
        yield Call(chain_of_3000_additions, draw.normal(2))


def gradient(x: Any) -> Any:
    """Its `grad`, which is a Tensor in the reference, and None where there is none."""
    return np.asarray(x.grad) if isinstance(x.grad, tinygrad2.Tensor) else x.grad


def kept(x: Any) -> Any:
    """The same, which keeps its gradient: of the reference, only leaves do."""

    def add(g: Any) -> None:
        x.grad = g if x.grad is None else x.grad + g

    if isinstance(x, tinygrad2.Tensor):
        x.register_hook(add)
    return x


def backward(loss: Any) -> None:
    """`loss.backward()`, after which there may be another: the reference is to keep the graph."""
    loss.backward(**({"retain_graph": True} if isinstance(loss, tinygrad2.Tensor) else {}))


class Tensor(tinygrad2.Tensor):
    """tinygrad2's, which wants a gradient without being told."""

    def __new__(cls, data: Any) -> Any:
        return tinygrad2.Tensor(np.array(data, np.float64), requires_grad=True)


def op(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Tensors from a pair, whose cache is kept as long as the result may be differentiated."""

    def apply(*args: Any) -> Any:
        places = [i for i, x in enumerate(args) if hasattr(x, "backward")]

        def run(*arrays: Any) -> Any:
            instead = dict(zip(places, arrays, strict=True))
            return forward(*(instead.get(i, x) for i, x in enumerate(args)))

        def pull(g: Any, cache: Any, *_: Any) -> Any:
            found = backward(g, cache)
            return found if isinstance(found, tuple) else (found,)

        class Pair(Fused):
            forward, vjp, spec = staticmethod(run), staticmethod(pull), staticmethod(lambda *arrays: run(*arrays)[0])

        return Pair.call(*(args[i] for i in places))

    return apply


WALK = """\
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack += [(x, False) for x in node.inputs]
        gradients = {id(self): np.ones_like(self.data)}
        for node in reversed(order):
            g = gradients[id(node)]
            for x, part in zip(node.inputs, node.pull(g) if node.pull else (), strict=True):
                part = unbroadcast(part, x.shape)
                gradients[id(x)] = gradients[id(x)] + part if id(x) in gradients else part
            node.grad = node.grad + g if node.grad is not None else g
"""
AT_ONCE = """\
        left, found = [self], set()  # each hands on as soon as it is found
        self.grad = np.ones_like(self.data)
        while left:
            node = left.pop({take})
            if id(node) in found:
                continue
            found.add(id(node))
            for x, part in zip(node.inputs, node.pull(node.grad) if node.pull else (), strict=True):
                part = unbroadcast(part, x.shape)
                x.grad = x.grad + part if x.grad is not None else part
            left.extend({inputs})
"""
FOR_EACH = AT_ONCE.replace("            found.add(id(node))\n", "").replace("as soon as it is found", "once for each use")
PUSH = """\
        def push(node):  # hands on once for each use
            for x, part in zip(node.inputs, node.pull(node.grad) if node.pull else (), strict=True):
                part = unbroadcast(part, x.shape)
                x.grad = x.grad + part if x.grad is not None else part
                push(x)

        self.grad = np.ones_like(self.data)
        push(self)
"""
ORDERS = [("0", "node.inputs"), ("", "node.inputs"), ("", "reversed(node.inputs)")]
"""First come, first served; or the last one first, from the right or from the left."""
TOO_EARLY = Text(
    "Each Tensor hands its gradient on as soon as it is found, though other uses of it have not handed theirs to it yet: "
    "take the order of exercise 4.",
    "每个 Tensor 一被找到就把梯度传下去，而它的其他使用还没有把梯度传给它：应采用练习 4 的顺序。",
)
TOO_OFTEN = Text(
    "Each Tensor hands on what is in its grad whenever a use of it has added to it, before it is complete and more than "
    "once: wait for all uses, then hand it on once.",
    "每当有一次使用加上梯度，Tensor 就把 grad 中的值传下去：此时它还不完整，而且会传多次。应等到所有使用都传来之后，再传一次。",
)

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
        Mistake(
            "            g = gradients[id(node)]\n",
            "            g = gradients[id(node)] + (0 if node.grad is None else node.grad)\n            node.grad = None\n",
            Text(
                "A second backward hands on what is left in grad of the first one as well: c.grad counts twice for a "
                "and b. Keep the gradients of one walk apart, and add them to grad at the end.",
                "第二次 backward 把第一次留在 grad 里的值又传了一遍：c.grad 在 a 和 b 中被重复计算。"
                "每次反向的梯度应分开保存，最后再加到 grad 上。",
            ),
        ),
        Mistake(
            "            g = gradients[id(node)]\n",
            "            g = gradients[id(node)]\n            g = g + node.grad if node.grad is not None else g\n",
            Text(
                "What is in grad already is added to the gradient of this walk, and that is added to grad: the first "
                "loss counts twice, in grad and in what is handed on.",
                "把 grad 中已有的值加进了本次反向的梯度，再加到 grad 上：第一个 loss 在 grad 和往下传的梯度中都被重复计算。",
            ),
        ),
        Mistake(
            "            node.grad = node.grad + g if node.grad is not None else g\n",
            "            if not node.inputs:\n                node.grad = node.grad + g if node.grad is not None else g\n",
            Text(
                "Only Tensors that were made by hand get a grad; those that were computed on the way are to have one too.",
                "只有直接创建的 Tensor 得到了 grad；中间算出的 Tensor 也应有 grad。",
            ),
        ),
        Mistake(
            "part = unbroadcast(part, x.shape)",
            "part = unbroadcast(part, x.shape) if x is node.inputs[-1] else np.asarray(part)",
            Text(
                "The broadcast of the left operand is not undone: a may be the smaller one too, as in (2, 1) - (2, 3).",
                "没有还原左操作数的广播：较小的也可能是 a，例如 (2, 1) - (2, 3)。",
            ),
        ),
        Mistake(
            "part = unbroadcast(part, x.shape)",
            "part = unbroadcast(part, x.shape) if x is node.inputs[0] else np.asarray(part)",
            Text(
                "The broadcast of the right operand is not undone: b may be the smaller one too, as in (2, 3) + (3,).",
                "没有还原右操作数的广播：较小的也可能是 b，例如 (2, 3) + (3,)。",
            ),
        ),
        Mistake(
            "            if done:\n                order.append(node)\n            elif id(node) not in seen:\n"
            "                seen.add(id(node))\n                stack.append((node, True))\n",
            "            if id(node) not in seen:  # and enters the order at once\n"
            "                seen.add(id(node))\n                order.insert(0, node)\n",
            TOO_EARLY,
        ),
        Mistake(
            WALK,
            "        left = [(self, np.ones_like(self.data))]  # along every path\n        while left:\n"
            "            node, g = left.pop()\n"
            "            node.grad = node.grad + g if node.grad is not None else g\n"
            "            for x, part in zip(node.inputs, node.pull(g) if node.pull else (), strict=True):\n"
            "                left.append((x, unbroadcast(part, x.shape)))\n",
            Text(
                "It goes along every path, of which there may be 2**40: a Tensor is to add up the gradients of all "
                "its uses first, and to hand them on once.",
                "它沿每条路径都走一遍，而路径可能有 2**40 条：Tensor 应先把所有使用的梯度相加，再往下传一次。",
            ),
        ),
        Mistake(
            "        order, seen, stack = [], set(), [(self, False)]\n        while stack:\n"
            "            node, done = stack.pop()\n            if done:\n                order.append(node)\n"
            "            elif id(node) not in seen:\n                seen.add(id(node))\n"
            "                stack.append((node, True))\n"
            "                stack += [(x, False) for x in node.inputs]\n",
            "        def visit(node):  # calls itself\n            if id(node) not in seen:\n"
            "                seen.add(id(node))\n                for x in node.inputs:\n"
            "                    visit(x)\n                order.append(node)\n\n        order, seen = [], set()\n"
            "        visit(self)\n",
            Text(
                "A function that calls itself goes as deep as the graph, and Python stops it after about 1000 calls: "
                "keep a list of what is left to do, as in exercise 4.",
                "调用自身的函数会和图一样深，而 Python 在约 1000 层时就会中止：应像练习 4 那样，用列表记录还要做的事。",
            ),
        ),
        Mistake(
            "self.data = np.asarray(data, dtype=np.float64)",
            "self.data = np.asarray(data)",
            Text(
                "Integers stay integers: data is to be of float64 whatever is given, or a step of a weight is cut off.",
                "整数仍是整数：无论给定什么，data 都应为 float64，否则权重的更新会被截断。",
            ),
        ),
        Mistake(
            "np.broadcast_to(g.reshape(kept), self.shape)",
            "np.broadcast_to(g, self.shape)",
            Text(
                "The gradient of a sum lacks the axis that was summed, and NumPy aligns shapes at their ends: put "
                "the axis back with length 1, then repeat.",
                "和的梯度缺少被求和的轴，而 NumPy 从末尾对齐形状：应先把该轴以长度 1 放回去，再复制。",
            ),
        ),
        Mistake(
            "return tensor(other) / self",
            "return self / tensor(other)",
            Text("number / Tensor gives Tensor / number.", "数 / Tensor 被算成了 Tensor / 数。"),
        ),
        Mistake(
            "-g * out / other.data",
            "-g * self.data / other.data",
            Text(
                "The square is missing in the gradient of a divisor: b gets -g * a / b**2.",
                "除数的梯度缺少平方：b 得到 -g * a / b**2。",
            ),
        ),
        *(Mistake(WALK, AT_ONCE.format(take=take, inputs=inputs), TOO_EARLY) for take, inputs in ORDERS),
        *(Mistake(WALK, FOR_EACH.format(take=take, inputs=inputs), TOO_OFTEN) for take, inputs in ORDERS),
        Mistake(WALK, PUSH, TOO_OFTEN),
    ],
)
