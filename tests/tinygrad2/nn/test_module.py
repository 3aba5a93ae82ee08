"""Names, modes and state of modules."""

import copy
import weakref
from collections import OrderedDict, UserList, deque, namedtuple
from enum import Enum
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from tinygrad2 import Tensor, autograd, gradcheck, nn, optim
from tinygrad2.errors import DtypeError, ModuleError, ShapeError


class Net(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.layers = [nn.Linear(3, 4, rng=rng), nn.Linear(4, 2, bias=False, rng=rng)]
        self.norm = nn.LayerNorm(2)
        self.tied = self.norm
        self.scale = nn.Parameter(np.ones(()))
        self.note = "not a parameter"

    def forward(self, x):
        return self.norm(self.layers[1](self.layers[0](x))) * self.scale


def test_parameters_are_named_by_path_and_listed_once():
    names = [name for name, _ in Net().named_parameters()]
    assert names == ["scale", "layers.0.weight", "layers.0.bias", "layers.1.weight", "norm.weight", "norm.bias"]
    assert Net().num_parameters() == 1 + 12 + 4 + 8 + 2 + 2


def test_state_dict_round_trip():
    a, b = Net(), Net()
    for p in a.parameters():
        p.data = p.data + 1
    b.load_state_dict(a.state_dict())
    x = np.ones((5, 3), np.float32)
    np.testing.assert_array_equal(a(x).data, b(x).data)
    b.scale.data += 1
    assert a.scale.item() == 2


def test_load_lists_every_mismatch_and_changes_nothing():
    net = Net()
    before = {name: array.copy() for name, array in net.state_dict().items()}
    state = {name: array + 1 for name, array in net.state_dict().items()}
    del state["scale"]
    state["extra"] = np.ones(2)
    state["norm.bias"] = np.ones(7)
    with pytest.raises(ShapeError, match=r"missing scale.*unexpected extra.*norm\.bias has shape \(7,\), needs \(2,\)"):
        net.load_state_dict(state)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_train_and_eval_reach_every_module():
    net = Net()
    assert all(module.training for module in net.modules())
    assert not any(module.training for module in net.eval().modules())
    assert all(module.training for module in net.train().modules())
    assert len(list(net.modules())) == 1 + 2 + 1 + 1  # the shared norm is met twice


def test_a_module_may_give_anything():
    class Pair(nn.Module):
        def forward(self, x):
            return x, "and more"

    assert Pair()(1) == (1, "and more")


def test_a_frozen_parameter_is_still_saved():
    net = Net()
    net.scale.requires_grad = False
    assert "scale" in net.state_dict()
    net(np.ones((1, 3), np.float32)).sum().backward()
    assert net.scale.grad is None
    assert net.norm.bias.grad is not None
    net.zero_grad()
    assert net.norm.bias.grad is None


def test_to_converts_parameters():
    net = Net().to(np.float64)
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    assert type(net(np.ones((1, 3)))) is Tensor
    for dtype in (int, bool, complex):
        with pytest.raises(DtypeError, match="give a float dtype"):
            net.to(dtype)
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}


# -- what has a name


def linear():
    return nn.Linear(2, 3, rng=np.random.default_rng(0))


def parameter(*shape):
    return nn.Parameter(np.ones(shape))


class Free(nn.Module):
    """Whatever it is given."""

    def __init__(self, **attributes):
        for name, value in attributes.items():
            setattr(self, name, value)


RED = Enum("Colour", {"RED": "red"}, type=str).RED  # text, but str() of it is not its text
NESTED = [
    ((parameter(2), parameter(3)), ["x.0", "x.1"]),
    ({"a": parameter(2), "b c": [parameter(3)]}, ["x.a", "x.b c.0"]),
    ([[linear()], ({"k": linear()},)], ["x.0.0.weight", "x.0.0.bias", "x.1.0.k.weight", "x.1.0.k.bias"]),
    (namedtuple("Pair", "left right")(parameter(2), linear()), ["x.0", "x.1.weight", "x.1.bias"]),
    (OrderedDict({np.str_("a"): parameter(2), RED: parameter(3)}), ["x.a", "x.red"]),
    ([None, 3, "text", np.ones(2), Tensor([1.0]), parameter(2)], ["x.5"]),
]


@pytest.mark.parametrize(("value", "names"), NESTED, ids=[names[-1] for _, names in NESTED])
def test_parameters_are_found_however_deep(value, names):
    net = Free(x=value)
    assert [name for name, _ in net.named_parameters()] == list(net.state_dict()) == names
    assert [name for name, _ in net.named_parameters("net")] == [f"net.{name}" for name in names]
    modules = {name.rpartition(".")[0] for name in names if name.endswith(("weight", "bias"))}
    assert {name for name, _ in net.named_modules()} == {"", *modules}
    assert not any(module.training for module in net.eval().modules())


def objects(value):
    array = np.empty(2, object)
    array[1] = value
    return array


NAMELESS = {
    "set": lambda part: {part},
    "frozenset": lambda part: frozenset([part]),
    "deque of arrays": lambda part: deque([(objects([part]),)]),
    "key": lambda part: {("a", part): "of it"},
    "number": lambda part: {0: part},
    "dot above": lambda part: {"a.b": {"c": [part]}},
    "empty": lambda part: {"": part},
    "values": lambda part: {"a": part}.values(),
    "object": lambda part: SimpleNamespace(a=part),
    "UserList": lambda part: UserList([part]),
}


@pytest.mark.parametrize("make", [lambda: parameter(2), linear], ids=["parameter", "module"])
@pytest.mark.parametrize("above", [lambda x: x, lambda x: ({"a": [1, x]},)], ids=["bare", "deep"])
@pytest.mark.parametrize("kind", NAMELESS)
def test_what_cannot_be_named_is_refused_when_it_is_set(kind, above, make):
    net = Free(y=parameter(3))
    with pytest.raises(ModuleError, match=r"^x.*: this (Parameter|Linear) .* has no name; put it in attributes, lists"):
        net.x = above(NAMELESS[kind](make()))
    assert list(vars(net)) == ["y"]


def test_a_key_without_a_name_that_comes_later_is_refused_by_every_walk():
    net = Free(x=[{}])
    net.x[0][7] = linear()
    for walk in (Free(net=net).parameters, net.eval, net.__repr__, lambda: list(net.modules())):
        with pytest.raises(ModuleError, match=r"x\.0: this Linear under the key 7 has no name"):
            walk()


def test_what_cannot_be_an_attribute_is_refused():
    for name, value, why in (
        ("a.b", linear(), "cannot name a Linear; the name of an attribute is text without dots"),
        ("", [], "cannot name a list"),
        ("x", (linear() for _ in range(2)), "x: the items of a generator come only once; make it a list"),
        ("w", Tensor([1.0, 2.0]), r"w is a Parameter, and this Tensor is not; set w\.data"),
        ("w", np.ones(2), "w is a Parameter, and this ndarray is not"),
        ("w", 0.0, "w is a Parameter, and this float is not"),
    ):
        net = Free(w=parameter(2))
        with pytest.raises(ModuleError, match=why):
            setattr(net, name, value)
    net.w = parameter(3)
    assert [p.shape for p in net.parameters()] == [(3,)]
    net.w = None


def test_a_list_is_as_it_is_now():
    net = Free(layers=[linear()], table={})
    net.layers.append(linear())
    net.table["a"] = parameter(2)
    assert next(net.named_parameters())[0] == "table.a"
    for _, module in net.named_modules():  # what a walk meets may be changed
        vars(module).clear()
    assert [name for name, _ in net.named_modules()] == [""]


def test_what_has_a_name_may_be_anywhere_besides():
    net = Free(layers=[linear(), linear()])
    net.without_decay = {net.layers[0].bias, net.layers[1].bias}
    net.optimizer = optim.SGD(net.parameters(), 0.1)
    net.of = {net.layers[0]: "first"}
    net.trainer = SimpleNamespace(model=net, all=[net])
    net.pair = [late := linear(), {late}]
    assert len(net.parameters()) == 6
    net.layers[1] = linear()  # the one before is now known to the set and the optimizer alone
    assert len(net.parameters()) == 6
    with pytest.raises(ModuleError, match=r"without_decay: this Parameter in a set has no name"):
        net.without_decay = net.without_decay


def test_code_graphs_and_hooks_are_no_place_for_parts():
    other, w = linear(), parameter(2)
    net = Free(layer=linear(), act=lambda x: other(x) * w, method=other.forward, last=(w * 2).sum())
    net.kind, net.deep = type("Kind", (), {"part": other}), SimpleNamespace(a=SimpleNamespace(b=other))
    net.layer.register_forward_hook(partial(lambda part, *_: None, other))
    net.layer.register_backward_hook(other)
    assert [name for name, _ in net.named_parameters()] == ["layer.weight", "layer.bias"]


def test_cycles_are_named():
    parent, child = type("Parent", (Free,), {})(), Free()
    child.above = [parent]
    parent.blocks = [linear(), {"a": child}]
    for walk in (parent.parameters, parent.train, parent.__repr__, lambda: list(parent.modules())):
        with pytest.raises(ModuleError, match=r"^blocks\.1\.a\.above\.0 is a Parent that holds itself.*weakref"):
            walk()
    child.above = weakref.ref(parent)
    assert len(parent.parameters()) == 2
    child.list = loop = []
    loop.append(SimpleNamespace(back=loop))  # where nothing has a name, nothing is lost
    assert len(parent.parameters()) == 2
    loop.append(loop)
    with pytest.raises(ModuleError, match=r"^blocks\.1\.a\.list\.1 is a list that holds itself"):
        parent.parameters()
    with pytest.raises(ModuleError, match=r"^me is a Free"):
        child.me = child


def test_one_part_may_have_two_names():
    layer = linear()
    net = copy.deepcopy(Free(a=[layer], b={"c": layer}, w=layer.weight))
    assert [name for name, _ in net.named_parameters()] == ["w", "a.0.bias"]
    assert [name for name, _ in net.named_children()] == ["a.0", "b.c"]
    assert net.w is net.b["c"].weight is not layer.weight


# -- a tree to look at


def test_a_model_prints_as_a_tree():
    def block():
        inner = Free(norm=nn.LayerNorm(4))
        inner.tied = inner.norm.weight  # within itself, so that all are alike
        return inner

    net = Free(w=parameter(2, 3), h=[block() for _ in range(12)], k=parameter(2), table={"a": nn.Dropout(0.5)})
    net.tied, net.again = [net.h[0].norm.weight] * 2, net.h[11]
    for p in (net.k, *net.h[11].parameters()):
        p.requires_grad = False
    assert (
        repr(net)
        == """Free, 104 parameters, 10 of them frozen
  w: (2, 3) float64
  h.0 to h.10 (11 times), each: Free, 8 parameters
    norm: LayerNorm, 8 parameters
      weight: (4,) float32
      bias: (4,) float32
    tied: the same as h.0.norm.weight
  h.11: Free, 8 parameters, frozen
    norm: LayerNorm, 8 parameters, frozen
      weight: (4,) float32, frozen
      bias: (4,) float32, frozen
    tied: the same as h.11.norm.weight
  k: (2,) float64, frozen
  table.a: Dropout
  tied.0 to tied.1 (2 times), each: the same as h.0.norm.weight
  again: the same as h.11"""
    )


# -- evaluation


def test_evaluating_restores_each_modules_own_mode():
    net = Net()
    net.layers[1].eval()
    modes = [module.training for module in net.modules()]
    with net.evaluating():
        with pytest.raises(ZeroDivisionError), net.evaluating():
            Free(mode=net.layers[0].train(), fails=1 / 0)
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == modes == [True, True, False, True, True]


def test_a_step_of_descent_inside_a_loss_of_a_module():
    """MAML: the gradient by the weights goes through the step that was taken from them."""
    net = linear().to(np.float64)
    rng = np.random.default_rng(1)
    (x, y), (u, v) = ((rng.standard_normal((4, 2)), rng.standard_normal((4, 3))) for _ in range(2))

    def adapted(weight, bias):
        with net.using({"weight": weight, "bias": bias}):
            inner = autograd.grad(np.mean((np.tanh(net(x)) - y) ** 2), [net.weight, net.bias], create_graph=True)
        with net.using({"weight": weight - 0.5 * inner[0], "bias": bias - 0.5 * inner[1]}):
            return np.mean((np.tanh(net(u)) - v) ** 2)

    before = net.weight.data, net.bias.data
    gradcheck(adapted, [net.weight.data.copy(), net.bias.data.copy()]).assert_right()
    loss = adapted(net.weight, net.bias)
    loss.backward()
    assert net.weight.grad is not None
    assert [net.weight.data is before[0], net.bias.data is before[1], net.weight.requires_grad] == [True] * 3
    with pytest.raises(ZeroDivisionError), net.using({"bias": Tensor(np.zeros(3))}):
        Free(free=net.bias.requires_grad, fails=1 / 0)
    assert net.bias.data is before[1]
    for wrong in ({"bia": net.bias}, {"bias": net.weight}):
        with pytest.raises(ShapeError, match=r"^using: (bia|bias) "), net.using(wrong):
            pass


# -- hooks


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_hook_may_be_there_twice_and_is_removed_once(where):
    net, calls = Net(), []

    def hook(*_):
        calls.append(1)

    register = getattr(net.norm, f"register_{where}_hook")
    removers = [register(hook), register(hook)]

    def count():
        calls.clear()
        net(np.ones((1, 3), np.float32)).sum().backward()
        return len(calls)

    assert count() == 2
    removers[1]()
    removers[1]()  # again, which changes nothing
    assert count() == 1
    register(hook)
    removers[0]()
    assert count() == 1
