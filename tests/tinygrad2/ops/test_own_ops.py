"""Ops that somebody writes: in one call or as a class. What is wrong with one is said in words that name it."""

import functools
import linecache
import subprocess
import sys

import numpy as np
import pytest
from op_samples import OPS, arguments

from tinygrad2 import Tensor, autograd, gradcheck, ops, study
from tinygrad2.errors import DtypeError, GraphError, ShapeError, UnsupportedError
from tinygrad2.ops import Fused, Op, primitive
from tinygrad2.ops.op import Outline, outline

X = np.array([1.0, -2.0, 3.0])


def leaf(data=X):
    return Tensor(data, requires_grad=True)


def op_of(vjp, forward=lambda x: x * x, base=Op):
    """A class, as somebody would write it."""
    return type("Cube", (base,), {"forward": staticmethod(forward), "vjp": staticmethod(vjp), "__module__": __name__})


def in_place(array):
    array *= 2
    return array


Softsign = primitive(
    lambda x, *, scale=1.0: scale * x / (1 + np.abs(x)),
    lambda g, out, x, *, scale=1.0: g * scale / (1 + np.abs(x)) ** 2,
    name="softsign",
)


def test_one_call_is_an_op():
    gradcheck(lambda x: Softsign.call(x, scale=3.0), [X], order=2).assert_right()
    gradcheck(lambda x: Softsign.call(x, 2.0), [X]).assert_right()
    np.testing.assert_array_equal(Softsign.call(X), X / (1 + np.abs(X)))
    assert Softsign.formula(0).code == "g * scale / (1 + np.abs(x)) ** 2"
    with pytest.raises(UnsupportedError, match=r"softsign: \['slope'\] is not supported here; it takes \['scale'\]"):
        Softsign.call(leaf(), slope=1)


def test_only_who_says_so_takes_the_place_of_a_rule(monkeypatch):
    monkeypatch.setattr(ops.op, "RULES", dict(ops.RULES))
    before = ops.RULES[np.sign]
    through = primitive(np.sign, lambda g, out, x: g, name="straight_through")
    assert ops.RULES[np.sign] == ops.op.RULES[np.sign] == before
    primitive(np.sign, lambda g, out, x: g, name="straight_through", of=np.sign)
    primitive(np.spacing, lambda g, out, x: 0 * g)
    assert ops.op.RULES[np.sign] != before
    assert np.spacing in ops.op.RULES
    x = leaf()
    through.call(x).backward(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(x.grad.data, [1, 2, 3])


def test_an_op_of_any_number_of_inputs():
    total = primitive(
        lambda *xs, w: sum(w * x for x in xs), lambda g, out, i, *arrays, w: w * g * (1 + 0 * arrays[i]), name="total"
    )
    gradcheck(lambda a, b, c: total.call(a, b, c, w=2.5), [X, X + 1, X + 2]).assert_right()
    assert total.formula(2).code == "i = 2; w * g * (1 + 0 * arrays[i])"


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (
            op_of(lambda g, out, x: 2 * g * x),
            r"cube: its vjp gave a ndarray for 1 inputs; return a tuple .* `return \(cotangent,\)`, with the comma",
        ),
        (type("Cube", (Op,), {"forward": staticmethod(np.square), "__module__": __name__}), r"backward: cube has no vjp"),
        (op_of(lambda g, out, x: None), r"cube: its vjp gave None; add a return"),
        (
            op_of(lambda g, out, x: (g, g)),
            r"cube: its vjp gave 2 cotangents for 1 inputs; return a tuple with one cotangent for each",
        ),
        (op_of(lambda g, out, x: (g[:2],)), r"cube: its rule gave a cotangent of shape \(2,\) for an input of shape \(3,\)"),
        (op_of(lambda g, out, x: (g[:, None] * g,)), None),  # (3, 3) can be summed to (3,), as after broadcasting
        (op_of(lambda g, out, x: (np.ones((2, 2)),)), r"cube: its rule gave a cotangent of shape \(2, 2\)"),
        (op_of(lambda g, out, x: (1.0,)), r"cube: its rule gave a cotangent of shape \(\)"),
        (op_of(lambda g, out, x: (1j * g,)), r"cube: its rule gave a cotangent of complex128 for an input of float64"),
        (op_of(lambda g, out, x: (in_place(g),)), r"cube: its vjp writes into an array it was given"),
        (op_of(lambda g, out, x: (in_place(x),)), r"cube: its vjp writes into an array"),
        (op_of(lambda g, out, x: (in_place(out),)), r"cube: its vjp writes into an array"),
        (op_of(lambda g, out, x: (np.multiply(g, 2, out=g),)), r"cube: its vjp writes into an array"),
        (op_of(lambda g, out, x: (g,), in_place), r"cube: its forward writes into an array"),
        (op_of(lambda g, out, x: (g,), lambda x: None), r"cube: its forward gave None; add a return"),
        (op_of(lambda g, out, x: (g,), lambda x: {"y": x}), r"cube: its forward gave a dict, which is not an array of numbers"),
        (op_of(lambda g, saved, x: (g,), base=Fused), r"cube: its forward must give \(value, .*; it gave array\("),
        (
            op_of(lambda g, saved, x: (in_place(saved[0]),), lambda x: (x * x, (x,)), Fused),
            r"cube: its vjp writes into an array",
        ),
        (op_of(lambda g, s, x: (g,), lambda x: (x, 1, 2), Fused), r"cube: its forward must give \(value, .*; it gave \(array"),
        (op_of(lambda g, s, x: (g,), lambda x: ([1.0], 1), Fused), r"cube: its forward must give \(value, .*; it gave \(\["),
        (primitive(lambda x: x * x, lambda g, out, x: None, name="sq"), r"sq: its rule of input 0 gave None"),
        (primitive(lambda x: x * x, lambda g, out, x: in_place(g), name="sq"), r"sq: its rule of input 0 writes into an array"),
        (primitive(lambda x: x * x, lambda g, out, x: g[1:], name="sq"), r"sq: its rule gave a cotangent of shape \(2,\)"),
        (primitive(in_place, lambda g, out, x: g, name="sq"), r"sq: its forward writes into an array"),
    ],
)
def test_what_an_op_does_wrong_is_said_of_it(op, message):
    def run():
        x = leaf()
        op.call(x).backward(np.array([1.0, 2.0, 3.0]))
        return x

    before = X.copy()
    if message is None:
        run()
    else:
        with pytest.raises((GraphError, ShapeError, DtypeError, UnsupportedError), match=f"^{message}"):
            run()
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (
            lambda: primitive(lambda a, b: a, lambda g, out, a, b: g, name="f"),
            r"f: 1 rules for the inputs \['a', 'b'\]; give one for each",
        ),
        (
            lambda: primitive(lambda a: a, lambda g, out, a: g, None, name="f"),
            r"f: 2 rules for the inputs \['a'\]",
        ),
        (lambda: primitive(lambda a: a, name="f"), r"f: 0 rules for the inputs \[\]"),
        (
            lambda: primitive(lambda x, axis=0: x, lambda g, out, x, axis=0: g, name="f"),
            r"f: axis=0 is an input, which is None where it is left out; a setting follows `\*`",
        ),
        (
            lambda: primitive(lambda x, axis=None: x, lambda g, out, x, axis=None: g, name="f"),
            r"f: 1 rules for the inputs \['x', 'axis'\]; .*; settings follow `\*`",
        ),
        (
            lambda: type("P", (Op,), {"forward": classmethod(lambda cls, x: x), "__module__": __name__}),
            r"P: forward is a class method; make it a static method",
        ),
        (
            lambda: type("Q", (ops.arithmetic.Multiply,), {"vjp": staticmethod(lambda g, out, a, b: (g, g))}),
            r"Q: a primitive cannot be subclassed",
        ),
        (
            lambda: primitive(lambda a, b: a, lambda g, out, a, b: g, lambda g, out, a: g, name="f"),
            r"f: its rules will be called with \(g, out, array, array\), which does not fit: too many",
        ),
        (
            lambda: primitive(lambda x, *, k=1: x * k, lambda g, out, x, *, k=2: g * k, name="f"),
            r"f: k has the default 2 here, and 1 elsewhere; write the same",
        ),
        (
            lambda: primitive(
                lambda a, b, *, k=1: a * k + b, lambda g, out, a, b, *, k=1: g * k, lambda g, out, a, b, *, k=3: g, name="f"
            ),
            r"f: k has the default 1 here, and 3 elsewhere",
        ),
        (
            lambda: primitive(lambda a, b, *, k: a, lambda g, out, a, b, *, k: g, lambda g, out, a, b: g, name="f"),
            r"f: its rules will be called with \(g, out, array, array, k=\), .*: got an unexpected keyword argument 'k'",
        ),
        (lambda: op_of(lambda g, x: (g,)), r"cube: its vjp will be called with \(g, out, x\), which does not fit: too many"),
        (
            lambda: op_of(lambda g, out, x, *, k: (g,)),
            r"cube: its vjp will be called with \(g, out, x\), .*: missing a required .*'k'",
        ),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_declared(declare, message):
    with pytest.raises(UnsupportedError, match=f"^{message}"):
        declare()


def test_an_array_that_a_vjp_gives_twice_is_added_to_apart():
    def both(g, out, a, b):
        h = 2 * g
        return h, h.reshape(-1)

    pair = op_of(both, lambda a, b: 2 * (a + b))
    a, b = leaf(), leaf()
    before = a * 10 + a * 100
    (before + pair.call(a, b)).backward(np.array([1.0, 2.0, 3.0]))  # the highest number first: what the pair gives arrives
    np.testing.assert_array_equal(b.grad.data, [2, 4, 6])
    np.testing.assert_array_equal(a.grad.data, [112, 224, 336])


class Cubed(Fused):
    """A specification that is another function."""

    @staticmethod
    def spec(x):
        return x * x * x

    @staticmethod
    def forward(x):
        return x * x, None

    @staticmethod
    def vjp(g, saved, x):
        return (2 * g * x,)


def test_a_specification_that_is_another_function_is_found():
    gradcheck(Cubed.call, [X]).assert_right()
    result = gradcheck(Cubed.call, [X], order=2)
    assert result.verdict == "wrong"
    assert "check that the spec of each op equals its forward" in result.note


def test_a_fused_op_without_specification_has_no_second_derivative():
    square = op_of(lambda g, saved, x: (2 * g * saved,), lambda x: (x * x, x), Fused)
    gradcheck(square.call, [X]).assert_right()
    x = leaf()
    with pytest.raises(GraphError, match=r"^backward: cube has no second derivative: .* no spec"):
        autograd.grad(np.sum(square.call(x)), x, create_graph=True)


def test_a_subclass_with_another_vjp_is_an_op_like_any():
    class Scaled(Cubed):
        @staticmethod
        def vjp(g, saved, x):
            return (4 * g * x,)

    x = leaf()
    Scaled.call(x).backward(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(x.grad.data, 4 * X * [1, 2, 3])


def halved(f):
    """A decorator, of somebody who knows functools."""

    @functools.wraps(f)
    def half(*args, **settings):
        return f(*args, **settings) / 2

    return half


@halved
def square(x):
    return x * x


@halved
def for_square(g, out, x):
    return 2 * g * x


def test_what_is_decorated_runs_as_it_is():
    op = primitive(square, for_square)
    x = leaf()
    y = op.call(x)
    y.backward(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(y.data, X * X / 2)
    np.testing.assert_array_equal(x.grad.data, X * [1, 2, 3])
    assert op.formula(0) is None  # what its decorator does is not known

    class Square(Op):
        forward, vjp = staticmethod(square), staticmethod(halved(lambda g, out, x: np.array([2 * g * x])))

    with pytest.raises(GraphError, match="square: its vjp gave a ndarray"):
        Square.call(leaf()).sum().backward()


class Marked:
    def rule(self, g, out, x):
        return np.where(x == 0, g, 5 * g)


def reads_by_name(g, out, x):
    return 2 * g * locals()["x"]


def test_a_rule_whose_reading_cannot_be_seen_keeps_all():
    five = primitive(lambda x: np.where(x == 0, x, 5 * x), Marked().rule, name="five")
    square = primitive(lambda x: x * x, reads_by_name, name="square")
    for op, slopes in ((five, [1, 5, 5]), (square, [0, 4, 6])):
        x = leaf(np.array([0.0, 2.0, 3.0]))
        op.call(x * 1.0).sum().backward()
        np.testing.assert_array_equal(x.grad.data, slopes)
    mixed = primitive(lambda a, b: a * b, lambda g, out, a, b: g * b, lambda g, out, *ab: g * ab[0], name="mixed")
    gradcheck(mixed.call, [X, X + 1]).assert_right()


def test_a_mixin_may_give_the_vjp():
    class Rule:
        @staticmethod
        def vjp(g, out, x):
            return (2 * g * x,)

    class Square(Rule, Op):
        @staticmethod
        def forward(x):
            return x * x

    gradcheck(Square.call, [X]).assert_right()


def test_what_an_op_saves_and_what_it_passes_on_are_not_written_to():
    """The value is among the residuals, in a list, and given as the cotangent: what is added to that must not reach it."""
    own_exp = op_of(lambda g, saved, x: (saved[0] if (g == 1).all() else g * saved[0],), lambda x: (y := np.exp(x), [y]), Fused)
    x = leaf()
    y = own_exp.call(x)
    (y.sum() + (x * 10).sum()).backward()
    np.testing.assert_array_equal(y.data, np.exp(X))
    np.testing.assert_allclose(x.grad.data, np.exp(X) + 10)
    same = op_of(lambda g, out, x: (g,), lambda x: x)
    x = leaf(X.copy())
    same.call(x).data[0] = 7  # it is the array of x itself
    assert x.data[0] == 7


class Matrix(np.ndarray):
    """As np.matrix was: its product is that of matrices."""

    __mul__ = __rmul__ = np.ndarray.__matmul__


def test_a_forward_may_give_a_view_of_its_input():
    flipped = op_of(lambda g, out, x: (g[::-1],), lambda x: x[::-1])
    half = op_of(lambda g, out, x: (np.concatenate([g, 0 * g]),), lambda x: x[:2])
    x = leaf(np.array([1.0, 2.0, 4.0, 8.0]))
    np.testing.assert_array_equal(flipped.call(x).data, [8, 4, 2, 1])
    np.testing.assert_array_equal(half.call(x).data, [1, 2])
    gradcheck(flipped.call, [X]).assert_right()


def test_a_class_stands_for_a_function_of_numpys_where_it_says_so(monkeypatch):
    monkeypatch.setattr(ops.op, "RULES", {})
    parts = {"forward": staticmethod(lambda x: np.cbrt(x)), "vjp": staticmethod(lambda g, out, x: (g / (3 * out * out),))}
    for of in ({"of": np.cbrt}, {}):
        op = type("Cbrt", (Op,), {**parts, "__module__": __name__}, **of)
    assert list(ops.op.RULES) == [np.cbrt]
    gradcheck(op.call, [X]).assert_right()


def test_a_part_of_another_op_is_named_by_the_op_that_has_it():
    first = op_of(lambda g, out, x: (g,), in_place)
    parts = {"forward": staticmethod(first.forward), "vjp": staticmethod(first.vjp), "__module__": __name__}
    with pytest.raises(GraphError, match=r"^second: its forward writes"):
        type("Second", (Op,), parts).call(leaf())


def test_a_vjp_of_another_number_of_cotangents_shows_nothing():
    assert op_of(lambda g, out, x: (g, g)).formula(0) is None
    assert op_of(lambda g, out, x: (2 * g,)).formula(0).code == "2 * g"


def test_a_cotangent_of_another_kind_of_array_is_an_array():
    class Double(Op):
        forward = staticmethod(lambda x: 2 * x)
        vjp = staticmethod(lambda g, out, x: ((2 * g).view(Matrix),))

    A = np.array([[1.0, 2.0], [3.0, 4.0]])
    x = leaf(A)
    Double.call(x * A).backward(np.array([[1.0, 2.0], [3.0, 5.0]]))
    np.testing.assert_array_equal(x.grad.data, [[2, 8], [18, 40]])


def test_an_op_is_given_all_its_arrays():
    with pytest.raises(UnsupportedError, match=r"where takes \['condition', 'a', 'b'\]; it was given 1 of them"):
        ops.arithmetic.Where.call(Tensor([0.0, 1.0]))
    with pytest.raises(UnsupportedError, match=r"multiply takes \['a', 'b'\]; it was given 1"):
        ops.arithmetic.Multiply.call(leaf())


def test_what_a_setting_holds_is_not_written_to():
    given = np.array([1.0, 2.0, 3.0])
    inject = primitive(lambda x, *, d: x * 1, lambda g, out, x, *, d: d, name="inject")
    frozen = np.array([5.0, 5.0, 5.0])
    frozen.flags.writeable = False
    cached = primitive(lambda x: x * 1, lambda g, out, x: frozen, name="cached")
    x = leaf()
    (inject.call(x, d=given) + x * 2 + cached.call(x) + x).sum().backward()
    np.testing.assert_array_equal(given, [1, 2, 3])
    np.testing.assert_array_equal(x.grad.data, [9, 10, 11])


def test_a_rule_may_give_plain_arrays_and_numbers_also_when_it_is_recorded():
    zeros = primitive(lambda x: np.sign(x), lambda g, out, x: np.zeros(x.shape), name="zeros")
    three = primitive(lambda x: 3 * x, lambda g, out, x: 3.0, name="three")
    for op, x, slope in ((zeros, leaf(), 0), (three, leaf(np.array(2.0)), 3)):
        (g,) = autograd.grad(np.sum(op.call(x * x)), [x], create_graph=True)
        assert isinstance(g, Tensor)
        np.testing.assert_array_equal(g.data, slope * 2 * x.data)
    table = leaf(np.ones((3, 2)))
    (g,) = autograd.grad(np.sum(zeros.call(ops.embedding(table, [0, 2]))), [table], create_graph=True)
    np.testing.assert_array_equal(g.data, np.zeros((3, 2)))


# -- what is computed and kept


def counted(op, calls):
    """The same rules, counting."""

    def counting(i, rule):
        def rule_of_input(*args, **settings):
            calls.append(i)
            return rule(*args, **settings)

        return rule_of_input

    return tuple(counting(i, rule) for i, rule in enumerate(op.rules))


@pytest.mark.parametrize("constant", [lambda x: x, lambda x: Tensor(x), 2.5])
def test_a_rule_runs_only_where_its_cotangent_is_wanted(constant, monkeypatch):
    calls = []
    monkeypatch.setattr(ops.arithmetic.Multiply, "rules", counted(ops.arithmetic.Multiply, calls))
    other = constant(X) if callable(constant) else constant
    (leaf() * other).sum().backward()
    (other * leaf()).sum().backward()
    assert calls == [0, 1]
    a, b = leaf(), leaf()
    autograd.grad((a * b).sum(), b)  # a wants a gradient, but nobody asked for it
    assert calls == [0, 1, 1]


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True), (True, False, True)])
def test_a_fused_op_is_told_what_is_needed(wanted, monkeypatch):
    told = []
    vjp = ops.fused.Linear.vjp
    monkeypatch.setattr(ops.fused.Linear, "vjp", lambda *args, needed: told.append(list(needed)) or vjp(*args, needed=needed))
    arrays = np.ones((2, 3)), np.ones((3, 4)), np.ones(4)
    inputs = [Tensor(x, requires_grad=w) for x, w in zip(arrays, wanted, strict=True)]
    g = np.arange(8.0).reshape(2, 4)
    ops.linear(*inputs).backward(g)
    assert told == [list(wanted)]
    assert [x.grad is not None if x.requires_grad else False for x in inputs] == list(wanted)
    found = ops.fused.Linear.vjp(g, None, *arrays, needed=wanted)
    assert [c is not None for c in found] == list(wanted)
    assert all(c is not None for c in vjp(g, None, *arrays))


@pytest.mark.parametrize("wanted", [(True, True, True), (True, False, False), (False, True, False), (False, False, True)])
def test_the_head_computes_only_the_gradients_that_are_needed(wanted, rng):
    arrays = rng.standard_normal((6, 3)), rng.standard_normal((4, 3)), rng.standard_normal(4)
    targets = np.array([1, 2, 0, 0, 0, 3])
    every = [leaf(x) for x in arrays]
    ops.linear_cross_entropy(*every, targets).backward()
    some = [Tensor(x, requires_grad=w) for x, w in zip(arrays, wanted, strict=True)]
    loss = ops.linear_cross_entropy(*some, targets)
    assert [part is not None for part in loss.node.residuals] == list(wanted)
    loss.backward()
    for x, y in zip(some, every, strict=True):
        assert not x.requires_grad or np.array_equal(x.grad.data, y.grad.data)


@pytest.mark.parametrize(
    ("f", "primals", "residuals"),
    [
        (lambda x: x + X, [Outline, Outline], False),
        (lambda x: x * X, [Outline, np.ndarray], False),  # what multiplies it is read, and not it itself
        (lambda x: X * x, [np.ndarray, Outline], False),
        (lambda x: x * x, [np.ndarray, np.ndarray], False),
        (np.exp, [Outline], True),
        (np.sin, [np.ndarray], False),
        (np.sum, [Outline], False),
        (lambda x: x / X, [Outline, np.ndarray], False),
        (lambda x: X / x, [Outline, np.ndarray], True),
        (lambda x: x[1:], [Outline], False),
        (lambda x: np.matmul(np.ones((2, 3)), x), [np.ndarray, Outline], False),
        (lambda x: np.where(X > 0, x, X), [np.ndarray, Outline, Outline], False),
        (lambda x: np.stack([x, X]), [Outline, Outline], False),
    ],
)
def test_what_no_rule_reads_is_not_kept(f, primals, residuals):
    node = f(np.exp(leaf())).node
    assert [type(x) for x in node.primals] == primals
    assert (node.residuals is not None) == residuals


def test_an_outline_cannot_be_computed_with():
    shape = outline(np.ones((2, 3), np.float32))
    assert (shape.shape, shape.ndim, shape.size, shape.dtype) == ((2, 3), 2, 6, np.float32)
    for wrong in (lambda: shape * 2.0, lambda: np.exp(shape), lambda: np.ones((2, 3)) * shape, lambda: shape[0]):
        with pytest.raises(TypeError):
            wrong()


def test_a_rule_whose_source_is_not_there_keeps_all_and_shows_nothing():
    space = {}
    exec("rule = lambda g, out, x: g * 3 * x**2", space)
    cube = primitive(lambda x: x**3, space["rule"], name="cube")
    assert cube.formula(0) is None
    gradcheck(cube.call, [X]).assert_right()
    with study.record():
        loss = np.sum(cube.call(leaf()) * np.array([1.0, 10.0, 100.0]))
    trace = study.Trace(loss)
    np.testing.assert_allclose(trace.backward().gradients[trace.leaves[0]], 3 * X**2 * [1, 10, 100])


def test_a_file_that_changed_after_it_was_read_is_not_believed(tmp_path):
    """Where lines have moved, another lambda is where the rule was: it would say what is read."""
    before, after = "first = lambda g, out, x: g * x\n", "first = lambda g, out, x: g * 1\n"
    path = tmp_path / "rules.py"
    path.write_text(before)
    space = {"__name__": "rules", "__file__": str(path)}
    exec(compile(before, str(path), "exec"), space)
    path.write_text(after)
    linecache.checkcache(str(path))
    op = primitive(lambda x: 0.5 * x * x, space["first"], name="half_square")
    assert op.formula(0) is None
    gradcheck(op.call, [X]).assert_right()


def test_without_positions_in_the_code_all_is_kept():
    program = (
        "import numpy as np; from tinygrad2 import Tensor; x = Tensor([1.0, 2.0], requires_grad=True); "
        "np.sum(x * np.array([3.0, 5.0])).backward(); print(x.grad.data.tolist())"
    )
    done = subprocess.run([sys.executable, "-X", "no_debug_ranges", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[3.0, 5.0]\n"


def test_several_rules_on_one_line_are_told_apart():
    f = primitive(lambda a, b: a * a * b, lambda g, out, a, b: 2 * g * a * b, lambda g, out, a, b: g * a * a, name="f")
    assert [f.formula(i).code for i in (0, 1)] == ["2 * g * a * b", "g * a * a"]
    nested = primitive(lambda x: 2 * x, lambda g, out, x: (lambda h: h + h)(g), name="twice")
    assert nested.formula(0).code == "(lambda h: h + h)(g)"


# -- settings


SETTINGS = [(op, setting) for op in OPS for setting in op.settings]


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("nest", [lambda x: x, lambda x: (x, 1), lambda x: [[x]]], ids=["alone", "in a tuple", "in lists"])
@pytest.mark.parametrize(("op", "setting"), SETTINGS, ids=[f"{op.name}-{setting}" for op, setting in SETTINGS])
def test_a_tensor_for_a_setting_is_refused_by_name(op, setting, nest, requires_grad):
    args, settings = arguments(op, 0)
    args = args[: op.arity]
    for inputs in (args, [Tensor(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args]):
        with pytest.raises(UnsupportedError, match=f"^{op.name}: {setting} is a Tensor, and settings get no gradient"):
            op.call(*inputs, **{**settings, setting: nest(Tensor(1.0, requires_grad=requires_grad))})


@pytest.mark.parametrize(
    "call",
    [
        lambda x, t: np.sum(x, axis=t),
        lambda x, t: x.sum(t),
        lambda x, t: np.split(x, t),
        lambda x, t: np.split(x, [1], axis=t),
        lambda x, t: np.concatenate([x, x], axis=t),
        lambda x, t: np.pad(x, 1, constant_values=t),
        lambda x, t: np.reshape(x, (t, 3)),
        lambda x, t: ops.layer_norm(x, x, x, t),
        lambda x, t: ops.causal_attention(Tensor(np.ones((2, 6))), t),
        lambda x, t: ops.softmax(x, axis=t),
    ],
)
def test_so_it_is_through_every_door(call):
    with pytest.raises(UnsupportedError, match="is a Tensor, and settings get no gradient"):
        call(leaf(), Tensor(1.0, requires_grad=True))


def test_the_bounds_of_clip_are_inputs():
    x, low, high = np.array([-2.0, 0.1, 0.5, 3.0]), np.array([-1.0, 0.3, -0.2, 1.0]), np.array(2.0)
    for f in (np.clip, lambda x, a, b: np.clip(x, a_min=a, a_max=b), lambda x, a, b: np.clip(np.clip(x, a, None), None, b)):
        gradcheck(f, [x, low, high]).assert_right()
        np.testing.assert_array_equal(f(Tensor(x), low, high).data, np.clip(x, low, high))
    t = [leaf(np.array([1.0, 1.0, 1.0, 1.0])), leaf(np.array([1.0, 0.0, 2.0, 5.0])), leaf(np.array([3.0, 1.0, 2.0, 4.0]))]
    np.clip(*t).backward(
        np.array([1.0, 2.0, 3.0, 4.0])
    )  # at a bound x gets it; between equal bounds, and crossed ones, the upper
    np.testing.assert_array_equal([a.grad.data for a in t], [[1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 3, 4]])
