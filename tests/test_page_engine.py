"""docs/engine.py is the engine on one page: the gradients of a small GPT-2 are those of tinygrad2, bit for bit."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, autograd, ops
from tinygrad2.ops.functions import sech2

PAGE = Path(__file__).parents[1] / "docs" / "engine.py"
IDS = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 1]])  # 1 and 5 come three times
TARGETS = np.array([[1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 1, 10]])


@pytest.fixture
def page() -> ModuleType:
    """The page, read anew; with the slope of tanh that tinygrad2 has, which keeps its digits where the page's has none."""
    spec = importlib.util.spec_from_file_location("page_engine", PAGE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    x = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(module.RULES[np.tanh][0](2.0, np.tanh(x), x), 2 * sech2(x), rtol=1e-12)
    module.RULES[np.tanh] = (lambda g, out, x: g * sech2(x),)
    return module


def small(dtype: Any, tied: bool = False) -> GPT2:
    """A GPT-2 whose weights are all random, so that no gradient is zero because a bias or a weight is."""
    config = GPT2Config(11, 6, 8, num_layers=2, num_heads=2, tie_embeddings=tied, head_bias=not tied)
    model, rng = GPT2(config, dtype=dtype), np.random.default_rng(0)
    for name, p in model.named_parameters():
        p.data = (0.4 * rng.standard_normal(p.shape) + name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight"))).astype(
            dtype
        )
    return model


def gpt2_loss(p: dict[str, Any], ids: Any, targets: Any, layers: int, heads: int) -> Any:
    """The loss of a GPT-2, as NumPy's functions and operators say it; `p` has arrays or Tensors, of whatever engine."""
    B, T = ids.shape
    C = p["wte.weight"].shape[1]

    def mean(x):
        return np.sum(x, axis=-1, keepdims=True) / x.shape[-1]

    def less_its_maximum(x):
        return x - np.max(np.asarray(x.data), axis=-1, keepdims=True)  # a constant: it cancels

    def linear(x, name):
        return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

    def layer_norm(x, name):
        centred = x - mean(x)
        return centred / np.sqrt(mean(centred * centred) + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def heads_of(x):
        return np.swapaxes(np.reshape(x, (B, T, heads, C // heads)), 1, 2)  # (B, H, T, d_k)

    def attention(x, name):
        qkv = linear(x, f"{name}.c_attn")  # (B, T, 3C)
        q, k, v = (heads_of(qkv[..., i * C : (i + 1) * C]) for i in range(3))
        mask = np.triu(np.full((T, T), -np.inf, np.float32), 1)
        e = np.exp(less_its_maximum(q @ np.swapaxes(k, -1, -2) / math.sqrt(C // heads) + mask))  # (B, H, T, T)
        merged = np.reshape(np.swapaxes(e / np.sum(e, axis=-1, keepdims=True) @ v, 1, 2), (B, T, C))
        return linear(merged, f"{name}.c_proj")

    def feed_forward(x, name):
        h = linear(x, f"{name}.c_fc")  # (B, T, d_ff)
        return linear(0.5 * h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h * h * h))), f"{name}.c_proj")

    x = p["wte.weight"][ids] + p["wpe.weight"][:T]  # (B, T, C)
    for i in range(layers):
        x = x + attention(layer_norm(x, f"h.{i}.ln_1"), f"h.{i}.attn")
        x = x + feed_forward(layer_norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp")
    logits = layer_norm(x, "ln_f") @ np.swapaxes(p.get("lm_head.weight", p["wte.weight"]), 0, 1)  # (B, T, V)
    if "lm_head.bias" in p:
        logits = logits + p["lm_head.bias"]
    shifted = less_its_maximum(np.reshape(logits, (B * T, -1)))
    return np.sum(np.log(np.sum(np.exp(shifted), axis=-1)) - shifted[np.arange(B * T), targets.reshape(-1)]) / (B * T)


def by_page(page: ModuleType, weights: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The loss and the gradients of these weights, from the page."""
    p = {name: page.Tensor(w) for name, w in weights.items()}
    loss = gpt2_loss(p, IDS, TARGETS, 2, 2)
    return loss.data, dict(zip(p, page.grad(loss, list(p.values())), strict=True))


def by_tinygrad2(weights: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The same from tinygrad2."""
    p = {name: Tensor(w, requires_grad=True) for name, w in weights.items()}
    loss = gpt2_loss(p, IDS, TARGETS, 2, 2)
    return loss.data, {name: g.data for name, g in zip(p, autograd.grad(loss, list(p.values())), strict=True)}


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """The names of the gradients that are not equal in every bit (but for the sign of zero) and in dtype."""
    assert list(ours) == list(theirs)
    return [name for name in ours if ours[name].dtype != theirs[name].dtype or not np.array_equal(ours[name], theirs[name])]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_gradient_is_that_of_tinygrad2_bit_for_bit(page, dtype, tied):
    weights = {name: p.data for name, p in small(dtype, tied).named_parameters()}
    assert ("lm_head.weight" in weights) == (not tied)
    (loss, gradients), (full_loss, full_gradients) = by_page(page, weights), by_tinygrad2(weights)
    assert loss == full_loss
    assert differing(gradients, full_gradients) == []
    assert all(np.abs(g).max() > 0 for g in gradients.values())


@pytest.mark.parametrize("tied", [False, True])
def test_loss_and_gradients_are_those_of_the_model_with_its_fused_kernels(page, tied):
    model = small(np.float64, tied)
    expected = model.loss(IDS, TARGETS)
    expected.backward()
    loss, gradients = by_page(page, {name: p.data for name, p in model.named_parameters()})
    np.testing.assert_allclose(loss, expected.data, rtol=1e-12)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(gradients[name], p.grad.data, rtol=1e-10, atol=1e-15, err_msg=name)


def test_a_wrong_rule_is_noticed_whichever_it_is(page, monkeypatch):
    weights = {name: p.data for name, p in small(np.float64).named_parameters()}
    right = by_tinygrad2(weights)[1]
    unnoticed = []
    for function, rules in list(page.RULES.items()):
        for i, rule in enumerate(rules):
            wrong = [*rules]
            wrong[i] = lambda *args, rule=rule, **settings: rule(*args, **settings) * (1 + 1e-9)
            with monkeypatch.context() as patch:
                patch.setitem(page.RULES, function, tuple(wrong))
                if not differing(by_page(page, weights)[1], right):
                    unnoticed.append((function.__name__, i))
    assert unnoticed == []


def test_a_rule_of_both_engines_is_one_text(page):
    """A rule here is a lambda; the formula that tinygrad2 shows has the same expressions. (Its matmul takes vectors too.)"""
    tree = ast.parse(PAGE.read_text("utf-8"))
    (table,) = [node.value for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "RULES"]
    assert isinstance(table, ast.Dict)
    compared = 0
    for function, rules in zip(page.RULES, table.values, strict=True):
        if function in (np.matmul, np.tanh):  # the slope of tanh is an op of its own there
            continue
        op: Any = ops.GetItem if function not in ops.RULES else ops.RULES[function].__self__
        expressions = [ast.unparse(rule.body) for rule in rules.elts]
        assert expressions == [op.formula(i).code for i in range(op.arity)], op.name
        compared += 1
    assert compared == len(page.RULES) - 2 >= 11


def test_it_fits_on_a_page_and_needs_numpy_alone(page):
    source = PAGE.read_text("utf-8")
    assert source.count("\n") <= 120
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    standard = {"__future__", "collections.abc", "heapq", "itertools", "operator", "typing"}
    assert modules - standard == {"numpy", "numpy.lib.mixins"}


def test_its_example_prints_what_it_shows(page):
    result = doctest.testmod(page)
    assert result.attempted == 3
    assert result.failed == 0


def test_what_it_cannot_do_it_says(page):
    x = page.Tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=r"sin\(\) has no rule here"):
        np.sin(x)
    with pytest.raises(TypeError, match=r"reduce\(\) has no rule here"):
        np.add.reduce(x)
    with pytest.raises(TypeError, match=r"add\(out\) has no rule here"):
        np.add(x, x, out=x)
    with pytest.raises(TypeError, match="where"):  # a setting that the rule does not know
        page.grad(np.sum(x, where=[True, False]), [x])
    with pytest.raises(ValueError, match=r"the loss has shape \(2,\)"):
        page.grad(x, [x])


def test_what_is_used_twice_and_what_is_not_used(page):
    x, y = page.Tensor(3.0), page.Tensor([1.0, 2.0])
    for_x, for_y = page.grad(x * x + x, [x, y])
    assert for_x == 7
    np.testing.assert_array_equal(for_y, [0, 0])


def test_a_thousand_doublings_take_a_thousand_steps(page):
    x = page.Tensor(1.0)
    y = x
    for _ in range(1000):
        y = y + y
    assert page.grad(y, [x]) == [2.0**1000]
