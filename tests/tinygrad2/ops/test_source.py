"""What is read of a rule is what runs: its formula, and what must be kept for it."""

import numpy as np
import pytest

from tinygrad2 import Tensor
from tinygrad2.ops.op import Op, primitive


def squares(*arrays):
    return sum(x * x for x in arrays)


def own_names(g, out, k, *xs):
    return 2 * g * xs[k]


def in_steps(g, out, i, *arrays):
    mine = arrays[i]
    return g * (mine + mine)


def spelled_like_a_text(g, out, i, *arrays):
    return 2 * g * np.einsum("i->i", arrays[i])


VARIADIC = {
    own_names: "k = 1; 2 * g * xs[k]",
    in_steps: "i = 1; mine = arrays[i]; g * (mine + mine)",
    spelled_like_a_text: "i = 1; 2 * g * np.einsum('i->i', arrays[i])",
}


@pytest.mark.parametrize("rule", VARIADIC, ids=lambda rule: rule.__name__)
def test_an_op_of_any_number_of_inputs_may_name_them_as_it_likes(rule):
    squared = primitive(squares, rule)
    assert squared.formula(1).code == VARIADIC[rule]
    xs = [Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 5.0], requires_grad=True)]
    squared.call(*xs).backward([1.0, 10.0])
    np.testing.assert_array_equal([x.grad.data for x in xs], [[2, 40], [6, 100]])


def writes_into_its_own(g, out, x):
    part = np.zeros(x.shape)
    part[x > 0] = g[x > 0]
    return part


def computes_more_than_it_needs(g, out, x):
    unused = np.exp(x)  # noqa: F841
    positive = out > 0
    return np.where(positive, g, 0)


@pytest.mark.parametrize("rule", [writes_into_its_own, computes_more_than_it_needs])
def test_what_any_line_of_a_rule_reads_is_kept(rule):
    own_relu = primitive(lambda x: np.maximum(x, 0), rule, name="own_relu")
    x = Tensor([1.0, -2.0, 3.0], requires_grad=True)
    own_relu.call(x).backward([2.0, 3.0, 5.0])
    np.testing.assert_array_equal(x.grad.data, [2, 0, 5])


def test_steps_are_in_the_formula_and_what_changes_a_part_is_not_told():
    def formula(rule):
        return primitive(np.abs, rule, name="own").formula(0)

    assert formula(computes_more_than_it_needs).code == "unused = np.exp(x); positive = out > 0; np.where(positive, g, 0)"
    assert formula(writes_into_its_own) is None


def both(g, a, b):
    return g * b, g * a


class Entries(Op):
    @staticmethod
    def forward(a, b):
        return a * b

    @staticmethod
    def vjp(g, out, a, b):
        twice = 2 * g
        return twice * b / 2, g * a


class Called(Entries):
    forward = staticmethod(Entries.forward)

    @staticmethod
    def vjp(g, out, a, b):
        return both(g, a, b)


class Unpacked(Entries):
    forward = staticmethod(Entries.forward)

    @staticmethod
    def vjp(g, out, a, b):
        return (*[g * x for x in (b, a)],)


class OfOne(Op):
    @staticmethod
    def forward(x):
        return 2 * x

    @staticmethod
    def vjp(g, out, x):
        return tuple(2 * part for part in [g])


def test_a_class_has_a_formula_where_its_tuple_is_written_out():
    assert [Entries.formula(i).code for i in range(2)] == ["twice = 2 * g; twice * b / 2", "g * a"]
    assert [op.formula(i) for op in (Called, Unpacked) for i in range(2)] == [None] * 4
    assert OfOne.formula(0) is None


def chooses(g, out, x):
    if x.ndim:
        return 2 * g
    else:  # noqa: RET505  (so that a function ends in no `return`)
        return 2 * g * 1


def gives_nothing(g, out, x):
    return


def test_what_is_no_expression_has_no_formula():
    for rule in (chooses, gives_nothing):
        assert primitive(lambda x: 2 * x, rule, name="own").formula(0) is None
    x = Tensor([1.0, 2.0], requires_grad=True)
    primitive(lambda x: 2 * x, chooses, name="own").call(x).backward([1.0, 10.0])
    np.testing.assert_array_equal(x.grad.data, [2, 20])


def test_of_lambdas_in_each_other_it_is_the_one_that_runs():
    make = lambda k: lambda g, out, x: k * g  # noqa: E731
    assert primitive(lambda x: 3 * x, make(3), name="own").formula(0).code == "k * g"


def test_a_file_that_is_no_python_says_nothing(tmp_path):
    path = tmp_path / "template.txt"
    path.write_text("rule = {% rule %}")
    space = {"__name__": "template"}
    exec(compile("rule = lambda g, out, x: 2 * g * x", str(path), "exec"), space)
    square = primitive(lambda x: x * x, space["rule"], name="own")
    assert square.formula(0) is None
    x = Tensor([1.0, 2.0], requires_grad=True)
    square.call(x).backward([1.0, 10.0])
    np.testing.assert_array_equal(x.grad.data, [2, 40])
