"""Twelve kinds of wrong gradients that have been published, as functions of NumPy, PyTorch and JAX: each is caught, and the
diagnosis says what to do; and each function with the right gradient is right."""

import numpy as np
import pytest

from tinygrad2.gradcheck import gradcheck

RNG = np.random.default_rng(5)
X, Y, W, V = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4)), RNG.standard_normal((4, 4)), RNG.standard_normal(4)


class Kind:
    """A function, its right rule, the wrong one, where it shows, and what is said. `xp` has an engine's functions."""

    def __init__(self, f, right, wrong, inputs, said, verdict="wrong", ulps=None, engines=("numpy", "torch", "jax")):
        self.f, self.right, self.wrong, self.inputs = f, right, wrong, inputs
        self.said, self.verdict, self.ulps, self.engines = said, verdict, ulps, engines


def padded(xp, g):
    """The gradient of x[1:]."""
    return xp.concatenate([xp.zeros_like(g[:1]), g])


def centred(xp, g):
    return g - g.mean(1)[:, None]


def scaled(xp, x):
    """Divided by its norm, along each row."""
    return x / xp.sqrt((x * x).sum(1))[:, None]


def half(xp, g):
    """As one that goes through float32."""
    return xp.as_float64(xp.as_float32(g))


KINDS = {
    "a missing un-broadcast": Kind(
        lambda xp, x, b: x * b,
        lambda xp, g, x, b: (g * b, (g * x).sum(0)),
        lambda xp, g, x, b: (g * b, g * x),
        [X, V],
        r"the sum over axis 0 is missing|\(3, 4\).*\(4,\)|float64\[3,4\].*float64\[4\]",
        engines=("numpy", "jax"),  # PyTorch itself sums what a Function gives
    ),
    "a broadcast that is summed over one row only": Kind(
        lambda xp, x, b: x * b,
        lambda xp, g, x, b: (g * b, (g * x).sum(0)),
        lambda xp, g, x, b: (g * b, (g * x)[0]),
        [X, V],
        "some contributions are missing: those at all but the first along axis 0 of the output",
    ),
    "the cotangent ignored": Kind(
        lambda xp, x: xp.sin(x),
        lambda xp, g, x: (g * xp.cos(x),),
        lambda xp, g, x: (xp.cos(x),),
        [X],
        "a cotangent of zero gives a gradient that is not zero: the cotangent is ignored",
    ),
    "right for the sum only": Kind(
        lambda xp, x: x * x,
        lambda xp, g, x: (2 * g * x,),
        lambda xp, g, x: (2 * g.mean() * x,),
        [X],
        r"right only where the cotangent is the same for all outputs, as after \.sum\(\)",
    ),
    "tails": Kind(
        lambda xp, x: xp.tanh(x),
        lambda xp, g, x: (g / xp.cosh(x) ** 2,),
        lambda xp, g, x: (g * (1 - xp.tanh(x) ** 2),),
        [np.array([0.3, -20.0])],
        r"off by 5\.\d+e\+15 units in the last place, where \S+( 0)? is -20.0",
        "inaccurate",
        4,
    ),
    "a statistic as constant": Kind(
        lambda xp, x: scaled(xp, x),
        lambda xp, g, x: ((g - scaled(xp, x) * (g * scaled(xp, x)).sum(1)[:, None]) / xp.sqrt((x * x).sum(1))[:, None],),
        lambda xp, g, x: (g / xp.sqrt((x * x).sum(1))[:, None],),
        [X],
        "over axis 1 is taken as constant",
    ),
    "a kink on the wrong side": Kind(
        lambda xp, x: xp.where(x > 0, x, 0 * x),
        lambda xp, g, x: (g * xp.as_float64(x > 0),),
        lambda xp, g, x: (g * xp.as_float64(x < 0),),
        [X],
        "zero where it should not be, and the other way round: is a mask or a condition turned round",
    ),
    "in place on the cotangent": Kind(
        lambda xp, x: 2 * x,
        lambda xp, g, x: (2 * g,),
        lambda xp, g, x: (xp.doubled_in_place(g),),
        [X],
        "writes into the cotangent",
        engines=("numpy", "torch"),  # JAX's arrays cannot be written into
    ),
    "NaN through where": Kind(
        lambda xp, x: xp.where(x > 0, xp.sqrt(xp.abs(x)), 0 * x),
        lambda xp, g, x: (xp.where(x > 0, g * 0.5 / xp.sqrt(xp.abs(x)), 0 * x),),
        lambda xp, g, x: (xp.as_float64(x > 0) * g * 0.5 / xp.sqrt(x),),
        [X],
        r"not finite in \d+ of 144.*a branch that is not taken still get a gradient",
    ),
    "float32 accumulation": Kind(
        lambda xp, x: x.sum(0),
        lambda xp, g, x: (x * 0 + g,),
        lambda xp, g, x: (x * 0 + half(xp, g),),
        [X],
        "each number is one of float32: rounded on the way",
    ),
    "a transposed square": Kind(
        lambda xp, x, w: x @ w,
        lambda xp, g, x, w: (g @ w.T, x.T @ g),
        lambda xp, g, x, w: (g @ w, x.T @ g),
        [X, W],
        "transposed: p for p.T",
    ),
    "a slice that is off by one": Kind(
        lambda xp, x: x[1:] * 2,
        lambda xp, g, x: (2 * padded(xp, g),),
        lambda xp, g, x: (2 * xp.concatenate([g, xp.zeros_like(g[:1])]),),
        [X],
        "shifted by 1 along axis 0: an index or a slice that is off by one",
    ),
    "not deterministic": Kind(
        lambda xp, x: x * x,
        lambda xp, g, x: (2 * g * x,),
        lambda xp, g, x: (2 * g * x * RNG.random(),),
        [X],
        "not deterministic",
        "undecidable",
    ),
}


class OfNumpy:
    """The functions that the kinds are made of."""

    sin, cos, tanh, cosh, sqrt, abs, where = np.sin, np.cos, np.tanh, np.cosh, np.sqrt, np.abs, np.where
    concatenate, zeros_like = np.concatenate, np.zeros_like
    as_float32, as_float64 = (staticmethod(lambda x, t=t: x.astype(t)) for t in (np.float32, np.float64))
    doubled_in_place = staticmethod(lambda g: np.multiply(g, 2, out=g))


def of_numpy(f, rule, arity):
    names = ", ".join("xw"[:arity])
    return eval(f"lambda {names}: f(xp, {names})", {"f": f, "xp": OfNumpy}), {"vjp": lambda *given: rule(OfNumpy, *given)}


def of_torch(f, rule, arity):
    torch = pytest.importorskip("torch")

    class OfTorch:
        sin, cos, tanh, cosh, sqrt, abs, where = (
            torch.sin, torch.cos, torch.tanh, torch.cosh, torch.sqrt, torch.abs, torch.where,
        )  # fmt: skip
        concatenate, zeros_like = torch.cat, torch.zeros_like
        as_float32, as_float64 = (staticmethod(lambda x, t=t: x.to(t)) for t in (torch.float32, torch.float64))
        doubled_in_place = staticmethod(lambda g: g.mul_(2))

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *given):
            ctx.save_for_backward(*given)
            return f(OfTorch, *given)

        @staticmethod
        def backward(ctx, g):
            return rule(OfTorch, g, *ctx.saved_tensors)

    return Function.apply, {}


def of_jax(f, rule, arity):
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    class OfJax(OfNumpy):
        sin, cos, tanh, cosh, sqrt, abs, where = jnp.sin, jnp.cos, jnp.tanh, jnp.cosh, jnp.sqrt, jnp.abs, jnp.where
        concatenate, zeros_like = jnp.concatenate, jnp.zeros_like

    g = jax.custom_vjp(lambda *given: f(OfJax, *given))
    g.defvjp(lambda *given: (f(OfJax, *given), given), lambda given, g: rule(OfJax, g, *given))
    return g, {}


ENGINES = {"numpy": of_numpy, "torch": of_torch, "jax": of_jax}
CASES = [
    pytest.param(kind, engine, id=f"{name}-{engine}", marks=() if engine == "numpy" else pytest.mark.oracle)
    for name, kind in KINDS.items()
    for engine in kind.engines
]


def checked(kind, engine, rule):
    f, how = ENGINES[engine](kind.f, rule, len(kind.inputs))
    inputs = [x.copy() for x in kind.inputs]
    if engine == "torch":
        import torch

        inputs = [torch.from_numpy(x) for x in inputs]
    with np.errstate(all="ignore"):
        return gradcheck(f, inputs, ulps=kind.ulps, **how)


@pytest.mark.parametrize(("kind", "engine"), CASES)
def test_each_kind_gets_its_verdict_and_a_diagnosis(kind, engine):
    result = checked(kind, engine, kind.wrong)
    assert result.verdict == kind.verdict
    with pytest.raises(AssertionError, match=kind.said):
        result.assert_right()


@pytest.mark.parametrize(("kind", "engine"), CASES)
def test_the_same_function_with_its_right_rule_is_right(kind, engine):
    checked(kind, engine, kind.right).assert_right()
