"""Names, modes and state of modules."""

import numpy as np
import pytest

from tinygrad2 import Tensor, nn
from tinygrad2.errors import ShapeError


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
