"""The formula of an op of one's own, in whatever way it is written: what it says is what the rule gives, or it says nothing."""

import numpy as np
import pytest

from tinygrad2 import Tensor, study
from tinygrad2.ops.op import Fused, Op, primitive
from tinygrad2.study.formulas import code, evaluate


def tripled(g):
    return 3 * g


def in_a_function():
    factor = np.array([3.0, 3.0])
    return primitive(lambda x: factor * x, lambda g, out, x: factor * g, name="in_a_function")


def stepwise(cotangent, result, v):
    half = cotangent / 2
    return 6 * half


def looped(g, out, x):
    for _ in range(2):
        g = g * np.sqrt(3)
    return g


class OfAClass(Op):
    @staticmethod
    def forward(x, *, factor=3.0):
        return factor * x

    @staticmethod
    def vjp(upstream, out, v, *, factor=3.0):
        return (factor * upstream,)


class Plain(Op):
    @staticmethod
    def forward(x):
        return 3 * x


class WithTextThatLooksLikeSteps(Plain):
    forward = staticmethod(Plain.forward)

    @staticmethod
    def vjp(g, out, x):
        return ({"a; b": 3.0}["a; b"] * g,)


class ToldWhatIsNeeded(Plain):
    forward = staticmethod(Plain.forward)

    @staticmethod
    def vjp(g, out, x, *, needed):
        return (3 * g if needed[0] else None,)


class WithResiduals(Fused):
    @staticmethod
    def forward(x):
        return 3 * x, 3.0

    @staticmethod
    def vjp(g, factor, x):
        return (factor * g,)


class ResidualsAndARule(WithResiduals):
    forward = staticmethod(WithResiduals.forward)
    vjp = staticmethod(WithResiduals.vjp)

    @staticmethod
    def rule(g, out, x):
        return g + 2 * g


class TakesAny(Plain):
    forward = staticmethod(Plain.forward)

    @staticmethod
    def vjp(g, out, *xs):
        return (3 * g + 0 * xs[0],)


def triple(*rule):
    return primitive(lambda x: 3 * x, *rule, name="triple")


TRIPLES = {
    "a lambda": (triple(lambda g, out, x: 3 * g), "3 * g"),
    "what its module has": (triple(lambda g, out, x: tripled(g)), "tripled(g)"),
    "what is around it": (in_a_function(), "factor * g"),
    "other names": (triple(lambda y, z, x: 3 * y), "y = g; 3 * y"),
    "g for out": (triple(lambda out, g, x: 3 * out + 0 * g), "out, g = (g, out); 3 * out + 0 * g"),
    "g anew": (triple(lambda g, out, x: [g := g * 2, g * 1.5][1]), "[(g := (g * 2)), g * 1.5][1]"),
    "raises otherwise": (triple(lambda g, out, x: {1.0: 3 * g}[g[0] / g[0]]), "{1.0: 3 * g}[g[0] / g[0]]"),
    "steps": (triple(stepwise), "cotangent = g; half = cotangent / 2; 6 * half"),
    "a class": (OfAClass, "upstream = g; factor * upstream"),
    "a text": (WithTextThatLooksLikeSteps, "{'a; b': 3.0}['a; b'] * g"),
    "needed": (ToldWhatIsNeeded, "needed = (True,); 3 * g if needed[0] else None"),
    "a rule beside a kernel": (ResidualsAndARule, "g + 2 * g"),
    "any number": (
        primitive(lambda *xs: 3 * sum(xs), lambda g, out, k, *xs: 3 * g + 0 * xs[k], name="any_number"),
        "xs = arrays; k = 0; 3 * g + 0 * xs[k]",
    ),
    "a loop": (triple(looped), None),
    "no source": (triple(eval("lambda g, out, x: 3 * g", {"__name__": "elsewhere"})), None),
    "residuals": (WithResiduals, None),
    "inputs with one name": (TakesAny, None),
}


@pytest.mark.parametrize("name", TRIPLES)
def test_what_is_shown_of_an_op_of_ones_own_is_what_it_gives(name, tmp_path):
    op, shown = TRIPLES[name]
    x, weights = Tensor([0.5, -1.5], requires_grad=True), np.array([1.0, 4.0])
    with study.record():
        loss = np.sum(op.call(x) * weights)
    value = next(value for value in study.Trace(loss).results if value.op is op)
    text = code(value, 0)
    assert text == shown
    if text is not None:
        np.testing.assert_allclose(evaluate(text, value, weights), 3 * weights)
    assert study.lab(loss, tmp_path / "lab.html") > 0
    loss.backward()
    np.testing.assert_allclose(x.grad.data, 3 * weights)
