"""Names, modes and state of modules."""

import copy
import logging
import weakref
from collections import OrderedDict, UserList, defaultdict, deque, namedtuple
from enum import Enum
from functools import partial
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

from tinygrad2 import Tensor, nn, optim
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


class Colour(str, Enum):  # noqa: UP042  (str() of a member is not its text, unlike that of a StrEnum's)
    RED = "red"


Pair = namedtuple("Pair", "left right")

NESTED = [
    ([parameter(2)], ["x.0"]),
    ((parameter(2), parameter(3)), ["x.0", "x.1"]),
    ({"a": parameter(2), "b c": [parameter(3)]}, ["x.a", "x.b c.0"]),
    ([[linear()], ({"k": linear()},)], ["x.0.0.weight", "x.0.0.bias", "x.1.0.k.weight", "x.1.0.k.bias"]),
    (Pair(parameter(2), linear()), ["x.0", "x.1.weight", "x.1.bias"]),
    (OrderedDict(a=parameter(2)), ["x.a"]),
    (defaultdict(list, a=[parameter(2)]), ["x.a.0"]),
    ({np.str_("a"): parameter(2), Colour.RED: parameter(3)}, ["x.a", "x.red"]),
    ([None, 3, "text", np.ones(2), Tensor([1.0]), parameter(2)], ["x.5"]),
]


@pytest.mark.parametrize(("value", "names"), NESTED, ids=[names[-1] for _, names in NESTED])
def test_parameters_are_found_however_deep(value, names):
    net = Free(x=value)
    assert [name for name, _ in net.named_parameters()] == names
    assert list(net.state_dict()) == names
    modules = {name.rpartition(".")[0] for name in names if name.endswith(("weight", "bias"))}
    assert {name for name, _ in net.named_modules()} == {"", *modules}
    net.load_state_dict({name: array * 2 for name, array in net.state_dict().items()})
    assert not any(module.training for module in net.eval().modules())
    net.to(np.float16).zero_grad()
    assert all(p.grad is None and p.dtype == np.float16 for p in net.parameters())


class Keeper:
    """No Module."""

    def __init__(self, value):
        self.value = value

    def __call__(self, *_):
        pass


class Slotted:
    __slots__ = ("value",)


def slotted(value):
    one = Slotted()
    one.value = value
    return one


def objects(value):
    array = np.empty(2, object)
    array[1] = value
    return array


NAMELESS = {
    "set": lambda part: {part},
    "frozenset": lambda part: frozenset([part]),
    "deque": lambda part: deque([part]),
    "deque of arrays": lambda part: deque([(objects([part]),)]),
    "key": lambda part: {part: "of it"},
    "key in a key": lambda part: {("a", part): "of it"},
    "number": lambda part: {0: part},
    "none": lambda part: {None: part},
    "bytes": lambda part: {b"a": part},
    "dot": lambda part: {"a.b": part},
    "empty": lambda part: {"": part},
    "dot above": lambda part: {"a.b": {"c": [part]}},
    "generator": lambda part: (x for x in [part]),
    "map": lambda part: map(Free, [part]),
    "zip": lambda part: zip([part], [part], strict=True),
    "iterator": lambda part: iter([part]),
    "values": lambda part: {"a": part}.values(),
    "proxy": lambda part: MappingProxyType({"a": part}),
    "UserList": lambda part: UserList([part]),
    "array": objects,
    "object": Keeper,
    "object in an object": lambda part: Keeper(Keeper({"a": [part]})),
    "slots": slotted,
    "namespace": lambda part: SimpleNamespace(a=part),
    "partial": lambda part: partial(print, part),
}


@pytest.mark.parametrize("make", [lambda: parameter(2), linear], ids=["parameter", "module"])
@pytest.mark.parametrize("above", [lambda x: x, lambda x: [x], lambda x: ({"a": [1, x]},)], ids=["bare", "list", "deep"])
@pytest.mark.parametrize("kind", NAMELESS)
def test_what_cannot_be_named_is_refused_when_it_is_set_and_when_it_comes_later(kind, above, make):
    net = Free(y=parameter(3))
    with pytest.raises(ModuleError, match=r"(^Free\.|')x.*(make it an attribute, or put|make it a list)"):
        net.x = above(NAMELESS[kind](make()))
    assert not hasattr(net, "x")
    assert [name for name, _ in net.named_parameters()] == ["y"]
    net.x = grows = []
    grows.append(above(NAMELESS[kind](make())))
    outer = Free(net=net)
    for walk in (net.parameters, outer.parameters, outer.state_dict, outer.eval, outer.__repr__, lambda: list(net.modules())):
        with pytest.raises(ModuleError, match=r"(^Free\.|')x\.0"):
            walk()


def test_a_list_is_as_it_is_now():
    net = Free(layers=[linear()], table={})
    net.layers.append(linear())
    net.table["a"] = parameter(2)
    assert [name for name, _ in net.named_parameters()][:1] == ["table.a"]
    assert [name for name, _ in net.named_children()] == ["layers.0", "layers.1"]
    names = []
    for name, module in net.named_modules():  # what a walk meets may be changed
        names.append(name)
        if not name:
            module.layers.clear()
            module.more = 1
    assert names == ["", "layers.0", "layers.1"]
    assert [name for name, _ in net.named_modules()] == [""]


def test_what_has_a_name_may_be_anywhere_besides():
    net = Free(layers=[linear(), linear()])
    net.without_decay = {net.layers[0].bias, net.layers[1].bias}
    net.optimizer = optim.SGD(net.parameters(), 0.1)
    net.of = {net.layers[0]: "first"}
    net.trainer = Keeper(net)
    net.call = partial(net.layers[0].forward)
    net.both = {"net": linear()}
    net.pair = [late := parameter(2), {late}]
    assert len(net.parameters()) == 7
    net.layers[1] = linear()  # the one before is now known to the optimizer alone
    with pytest.raises(ModuleError, match=r"Free\.without_decay: a Parameter in a set has no name"):
        net.parameters()


def test_code_graphs_and_hooks_are_no_place_for_parts():
    other, w = linear(), parameter(2)
    net = Free(layer=linear())
    net.act = lambda x: other(x) * w
    net.method, net.kind, net.log = other.forward, nn.Linear, logging.Handler()
    net.log.part = other  # of Python's own objects, none is looked into
    net.last = (w * 2).sum()
    try:
        other(None)
    except Exception as error:  # its traceback leads to all that is here
        net.error = error
    net.layer.register_forward_hook(partial(lambda part, *_: None, other))
    net.layer.register_backward_hook(Keeper(other))
    assert [name for name, _ in net.named_parameters()] == ["layer.weight", "layer.bias"]


def test_a_name_with_a_dot_is_refused():
    net = Free()
    for name in ("a.b", ""):
        setattr(net, name, 3)
        with pytest.raises(ModuleError, match=r"a Linear under the key .* attributes and keys are to be text without dots"):
            setattr(net, name, linear())
    with pytest.raises(ModuleError, match=r"Free\.x\[0\]: a Linear under the key 0 has no name"):
        net.x = {"0": linear(), 0: linear()}


def test_what_belongs_to_a_class_is_refused():
    with pytest.raises(ModuleError, match=r"Shared\.layers\.0 belongs to the class, where no walk looks"):
        type("Shared", (nn.Module,), {"layers": [linear()]})
    with pytest.raises(ModuleError, match="Narrow has __slots__"):
        type("Narrow", (nn.Module,), {"__slots__": ("weight",)})


def test_cycles_are_named():
    parent, child = type("Parent", (Free,), {})(), Free()
    child.above = [parent]
    parent.blocks = [linear(), {"a": child}]
    for walk in (parent.parameters, parent.state_dict, parent.train, parent.__repr__, lambda: list(parent.modules())):
        with pytest.raises(ModuleError, match=r"^Parent\.blocks\.1\.a\.above\.0 is a Parent that holds this one.*weakref"):
            walk()
    child.above = weakref.ref(parent)
    assert len(parent.parameters()) == 2
    child.me = child
    with pytest.raises(ModuleError, match=r"blocks\.1\.a\.me is"):
        parent.parameters()
    loop = []
    loop.append(loop)
    with pytest.raises(ModuleError, match=r"'x\.0' is a list that holds itself"):
        child.x = loop


def test_one_part_may_have_two_names():
    layer = linear()
    net = Free(a=[layer], b={"c": layer}, w=layer.weight)
    assert [name for name, _ in net.named_parameters()] == ["w", "a.0.bias"]
    assert [name for name, _ in net.named_modules()] == ["", "a.0", "b.c"]
    twin = copy.deepcopy(net)
    assert twin.w is twin.a[0].weight is twin.b["c"].weight is not net.w


@pytest.mark.parametrize("value", [Tensor([1.0, 2.0]), np.ones(2)], ids=["Tensor", "array"])
def test_a_parameter_is_not_replaced_by_what_is_none(value):
    net = Free(w=parameter(2), b=parameter(2))
    with pytest.raises(ModuleError, match=r"Free\.w is a Parameter, which this (Tensor|ndarray) would take out.*set \.w\.data"):
        net.w = value
    net.w, net.b = parameter(3), None
    assert [p.shape for p in net.parameters()] == [(3,)]


@pytest.mark.parametrize("dtype", [int, np.int8, bool, complex])
def test_to_keeps_parameters_floating(dtype):
    net = Net()
    with pytest.raises(DtypeError, match="give a float dtype"):
        net.to(dtype)
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float32), np.dtype(np.float64)}


# -- a tree to look at


def test_a_model_prints_as_a_tree():
    net = Free(w=parameter(2, 3), layers=[linear(), linear(), nn.LayerNorm(4)], table={"a": nn.Dropout(0.5)}, note=3)
    net.tied, net.again = net.layers[0].weight, net.layers[2]
    net.layers[2].one = parameter(1)
    net.layers[2].one.requires_grad = False
    for p in net.layers[1].parameters():
        p.requires_grad = False
    assert (
        repr(net)
        == """Free, 33 parameters, 10 of them frozen
  w: (2, 3) float64
  layers.0: Linear, 9 parameters
    weight: (2, 3) float32
    bias: (3,) float32
  layers.1: Linear, 9 parameters, frozen
    weight: (2, 3) float32, frozen
    bias: (3,) float32, frozen
  layers.2: LayerNorm, 9 parameters, 1 of them frozen
    weight: (4,) float32
    bias: (4,) float32
    one: (1,) float64, frozen
  table.a: Dropout
  tied: the same as layers.0.weight
  again: the same as layers.2"""
    )


def test_equal_siblings_are_written_once():
    def inner():
        block = Free(layer=linear())
        block.tied = block.layer.weight  # within itself, so that all are alike
        return block

    net = Free(h=[inner() for _ in range(12)], q=linear(), k=linear(), grid=[[parameter(2)] * 3, [parameter(2), parameter(2)]])
    net.one, net.two = [parameter(1)], [parameter(1)]
    net.two[0].requires_grad = net.one[0].requires_grad = False
    net.h[11].more = parameter(1)
    assert (
        repr(net)
        == """Free, 135 parameters, 2 of them frozen
  h.0 to h.10 (11 times), each: Free, 9 parameters
    layer: Linear, 9 parameters
      weight: (2, 3) float32
      bias: (3,) float32
    tied: the same as h.0.layer.weight
  h.11: Free, 10 parameters
    layer: Linear, 9 parameters
      weight: (2, 3) float32
      bias: (3,) float32
    tied: the same as h.11.layer.weight
    more: (1,) float64
  q: Linear, 9 parameters
    weight: (2, 3) float32
    bias: (3,) float32
  k: Linear, 9 parameters
    weight: (2, 3) float32
    bias: (3,) float32
  grid.0.0: (2,) float64
  grid.0.1 to grid.0.2 (2 times), each: the same as grid.0.0
  grid.1.0 to grid.1.1 (2 times), each: (2,) float64
  one.0: (1,) float64, frozen
  two.0: (1,) float64, frozen"""
    )


# -- evaluation


def test_evaluating_restores_each_modules_own_mode():
    net = Net()
    net.layers[1].eval()
    modes = [module.training for module in net.modules()]
    with net.evaluating():
        assert not any(module.training for module in net.modules())
        with net.evaluating():
            net.layers[0].train()
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == modes
    with pytest.raises(ZeroDivisionError), net.evaluating():
        1 / 0  # noqa: B018
    assert [module.training for module in net.modules()] == modes == [True, True, False, True, True]


# -- hooks

X = np.ones((1, 3), np.float32)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_hook_may_be_there_twice_and_is_removed_once(where):
    net, calls = Net(), []

    def hook(*_):
        calls.append(1)

    register = getattr(net.norm, f"register_{where}_hook")
    removers = [register(hook), register(hook), register(hook)]

    def count():
        calls.clear()
        net(X).sum().backward()
        return len(calls)

    assert count() == 3
    removers[1]()
    removers[1]()  # again, which changes nothing
    assert count() == 2
    removers[0]()
    assert count() == 1
    register(hook)
    removers[2]()
    assert count() == 1
