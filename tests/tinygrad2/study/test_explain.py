"""The program of a step: in a process that cannot import tinygrad2, it gives the engine's loss and gradients bit for bit."""

import ast
import re
import subprocess
import sys

import numpy as np
import pytest
from op_samples import KINDS, NAMES, SAMPLES, sample, weigh

from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, kernels, nn, ops, study
from tinygrad2.errors import GraphError
from tinygrad2.observer import Observer
from tinygrad2.ops.indexing import scatter
from tinygrad2.ops.op import Fused, Op
from tinygrad2.study.explain import explain
from tinygrad2.study.programs.choices import without_choices

pytestmark = pytest.mark.slow

SMALL = {"vocab_size": 11, "max_seq_len": 8, "d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16}
IDS = np.array([[1, 2, 3, 4], [3, 3, 1, 0]])
OTHER = np.array([[0, 9, 9, 4, 2], [5, 3, 10, 0, 1]])

RUNNER = """
import importlib.abc, runpy, sys
import numpy as np

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tinygrad2", "gpt2", "numba", "scipy"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refuse())
for folder in sys.argv[1:]:
    found = runpy.run_path(folder + "/program.py")
    loss = found["loss"] if isinstance(found["loss"], list) else [found["loss"]]
    np.savez(folder + "/found.npz", *loss, **{"grad of " + name: g for name, g in found["grads"].items()})
assert not {"tinygrad2", "gpt2"} & set(sys.modules)
"""


@pytest.fixture(autouse=True)
def _numpy_kernels(monkeypatch):
    monkeypatch.setattr(kernels, "current", kernels.load("numpy"))


def executed(tmp_path, *folders):
    """(losses, gradients by name) of each folder's program, from one process that knows nothing but NumPy."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUNNER, *map(str, folders)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for folder in folders:
        with np.load(folder / "found.npz") as found:
            losses = [found[name] for name in found.files if name.startswith("arr_")]
            yield losses, {name.removeprefix("grad of "): found[name] for name in found.files if name.startswith("grad of ")}


def same(a, b):
    """Equal in every bit: also the sign of a zero, and what is not a number."""
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def check(tmp_path, cases):
    """Explain losses, plain and collapsed, back-propagate them, and compare. A case is (losses, tensors by name)."""
    folders, wanted = [], []
    for number, (losses, tensors) in enumerate(cases):
        for collapse in (False, True):
            folders.append(tmp_path / f"{number}{collapse}")
            explain(losses if len(losses) > 1 else losses[0], folders[-1], collapse=collapse)
        for loss in losses:
            loss.backward()
        grads = {name: x.grad.data for name, x in tensors.items() if x.grad is not None}
        wanted += [([loss.data for loss in losses], grads)] * 2
    for folder, (losses, grads), (want_losses, want_grads) in zip(folders, executed(tmp_path, *folders), wanted, strict=True):
        assert all(same(a, b) for a, b in zip(losses, want_losses, strict=True)), folder
        assert set(grads) == set(want_grads), folder
        different = [name for name in grads if not same(grads[name], want_grads[name])]
        assert not different, folder


def model_and_loss(make=lambda model: [model.loss(IDS, IDS[:, ::-1].copy())], dtype=np.float32, **settings):
    """What `check` takes: losses that `make` records, and the parameters of the model."""
    model = GPT2(GPT2Config(**{**SMALL, **settings}), seed=0, dtype=dtype)
    rng = np.random.default_rng(5)
    for p in model.parameters():
        p.data = p.data + rng.normal(0, 0.1, p.shape).astype(dtype)  # no zeros or ones
    with study.record(), nn.dropout_rng(np.random.default_rng(0)):
        losses = make(model)
    return losses, dict(model.named_parameters())


def both(model):
    return [model.loss(IDS, IDS[:, ::-1].copy()), model.loss(OTHER, OTHER[::-1].copy())]


def test_a_model_bit_for_bit(tmp_path):
    transposed = GPT2(GPT2Config(**SMALL), seed=1)._laid_out_to_read()  # matrices in Fortran's order
    assert transposed.h[0].mlp.c_fc.weight.data.flags.f_contiguous
    with study.record():
        fortran = transposed.loss(IDS, IDS[:, ::-1].copy())
    check(
        tmp_path,
        [
            model_and_loss(),
            model_and_loss(tie_embeddings=False, head_bias=True, dropout=0.2),
            model_and_loss(tie_embeddings=True, head_bias=False, dropout=0.2, dtype=np.float64),
            model_and_loss(lambda model: [model.loss(IDS[0], IDS[1])], num_layers=1, bias=False),
            model_and_loss(lambda model: [model.loss(IDS, IDS, label_smoothing=0.1)], num_layers=3),
            ([fortran], dict(transposed.named_parameters())),
        ],
    )


def test_accumulated_gradients_bit_for_bit(tmp_path):
    """Several micro-batches in one loss, and several losses back-propagated in turn onto the same parameters."""
    check(
        tmp_path,
        [
            model_and_loss(lambda model: [sum(both(model)) / 2], dropout=0.1),
            model_and_loss(both, dropout=0.1),
            model_and_loss(lambda model: [*both(model), model.loss(IDS, IDS)], tie_embeddings=False, head_bias=True),
        ],
    )


def test_losses_recorded_apart_have_one_parameter(tmp_path):
    x, y = (Tensor(np.array([1.5, -2.0]), requires_grad=True) for _ in range(2))
    with study.record():
        first = np.sum(x * 3)
    with study.record():
        second = np.sum(np.exp(x) * y)
    check(tmp_path, [([first, second], {"x": x, "y": y})])


def mixed(x, w, b, t):
    """Broadcasting, slices, reductions and shared values."""
    h = np.tanh(x @ w + b)
    first, last = h[:, 0], h[:, ::-2][:, 0]
    both = np.concatenate([first * last, h.mean(axis=1) - first], axis=-1)
    soft = ops.softmax(both, axis=-1) + np.where(both > 0, both, 0.1 * both)
    picked = soft[[0, 1, 1, 1], [2, 3, 3, 5]]
    y = np.sum(picked * t) + np.sum(np.max(h, axis=(0, 2)) * np.sqrt(np.exp(b[:3]))) / np.var(x)
    return y + np.sum(w.T @ w * w[:4, :4]) + t * t + np.sum(np.broadcast_to(t, (2, 3)) * x[..., 0])


def test_an_expression_bit_for_bit(tmp_path, rng):
    cases = []
    for dtype in (np.float32, np.float64):
        names = {"x": (2, 3, 4), "w": (4, 4), "b": (4,), "t": ()}
        tensors = {name: Tensor(rng.normal(size=shape).astype(dtype), requires_grad=True) for name, shape in names.items()}
        x, w, b, t = tensors.values()
        with study.record():
            loss = mixed(x, w, b, t)
        cases.append(([loss], {"x": x, "w": w, "b": b, "t": t}))
    columns = Tensor(np.asfortranarray(rng.normal(size=(37, 53))), requires_grad=True)
    rows = Tensor(rng.normal(size=(37, 53)), requires_grad=True)
    with study.record():
        loss = np.sum(columns + rows) * np.sum(rows * columns)  # a sum goes through memory in order, which decides its bits
    cases.append(([loss], {"columns": columns, "rows": rows}))
    check(tmp_path, cases)


def test_long_sums_of_float16_bit_for_bit(tmp_path):
    b, w, t = (Tensor(x, requires_grad=True, dtype=np.float16) for x in ([1.0, 2.0], [1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]]))
    ids = np.arange(3000) % 7 % 2
    with study.record():
        rows = b * np.ones((3000, 2), np.float16) + ops.embedding(t, ids)
        loss = np.mean(ops.layer_norm(rows, w, b) * (1 + np.arange(2))) + np.mean(w[ids])
    check(tmp_path, [([loss], {"b": b, "w": w, "t": t})])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_sums_of_thousands_bit_for_bit(tmp_path, dtype):
    rng, ids = np.random.default_rng(0), np.arange(5000) % 7 % 2
    b, w, t = (Tensor(rng.standard_normal(shape), requires_grad=True, dtype=dtype) for shape in ((2,), (2,), (2, 2)))
    with study.record():
        rows = b * rng.standard_normal((5000, 2)).astype(dtype) + ops.embedding(t, ids)
        parts = np.mean(rows, axis=0) + np.std(rows, axis=0) + np.cumsum(rows, axis=0)[-1] / 5000 + ops.softmax(rows, axis=0)[7]
        loss = np.sum(
            (np.mean(np.sum(rows[:, None] * w, axis=0), axis=0) / 5000 + parts) * rng.standard_normal(2).astype(dtype)
        )
        loss = loss + np.sum(w[ids] * rng.standard_normal(5000).astype(dtype)) / 5000
    check(tmp_path, [([loss], {"b": b, "w": w, "t": t})])


def test_every_op_bit_for_bit(tmp_path, monkeypatch):
    """A program for each kind of memory and use, with every op in one sum; in the plain kind, with all of its samples."""
    monkeypatch.setattr(Observer, "line", lambda *_: (sys._getframe(), ""))  # looking for lines of code would take longest
    folders, wanted = [], []
    for kind in ("plain", "strided", "reversed", "repeated", "shared"):
        change, layout = KINDS[kind]
        cases, total, done = [], 0.0, set()
        for op, number in SAMPLES:
            changed = change(*sample(op, number))
            if changed is None or (op in done and kind != "plain"):
                continue
            done.add(op)
            f, inputs = changed
            leaves = [Tensor(layout(x), requires_grad=True) for x in inputs]
            with study.record():
                total = total + weigh(f(*leaves))
            cases += [(f"{kind} {NAMES[SAMPLES.index((op, number))]}", x) for x in leaves]
        folders.append(tmp_path / kind)
        explain(total, folders[-1])
        total.backward()
        wanted.append((total.data, [(name, x.grad.data) for name, x in cases if x.grad is not None]))
    for (losses, grads), (loss, want) in zip(executed(tmp_path, *folders), wanted, strict=True):
        assert same(losses[0], loss)
        assert not [name for g, (name, x) in zip(grads.values(), want, strict=True) if not same(g, x)]


def test_the_program_is_that_of_the_numpy_kernels_whatever_ran(implementation, monkeypatch, tmp_path):
    (loss,), _ = model_and_loss(dropout=0.1)
    text = explain(loss, tmp_path)
    monkeypatch.setattr(kernels, "current", kernels.load("numpy"))
    (again,), _ = model_and_loss(dropout=0.1)
    assert text == explain(again) == (tmp_path / "program.py").read_text()


def test_what_is_written():
    (loss,), _ = model_and_loss(tie_embeddings=True)
    text = explain(loss)
    assert ast.parse(text).body
    for line in (
        "# h.1.attn.c_attn",
        "h_1_add = h_0_add_2 + h_1_attn_c_proj_linear  # (2, 4, 8)",
        "d_h_1_mlp_c_fc_linear = gelu_vjp(d_h_1_mlp_gelu, h_1_mlp_gelu_saved, h_1_mlp_c_fc_linear)  # (2, 4, 16)",
        "d_h_1_add = d_h_1_add + part  # (2, 4, 8)",
        "#   linear: d_x = g @ w.T; d_w = x.reshape(-1, x.shape[-1]).T @ g.reshape(-1, g.shape[-1]); d_b = g",
        "d_wte_weight = np.array(d_wte_weight)  # (11, 8), a copy to add to",  # it is also in what the head has saved
        "add_rows(d_wte_weight, wte_embedding_ids, d_wte_embedding)  # (2, 4, 8)",
    ):
        assert line in text.splitlines()
    assert max(map(len, text.splitlines())) <= 128


def test_a_small_program_from_top_to_bottom():
    """In place where nothing else is that array; a slice, a shared value and a broadcast one."""
    x = Tensor(np.array([[1.0, 2.0]]), requires_grad=True)
    with study.record():
        y = np.exp(x)
        z = np.sin(y)
        loss = np.sum((y + z) + z + y[:, 1:] * y)
    lines = explain(loss).splitlines()
    assert lines[lines.index("# Forward") :] == PROGRAM.splitlines()


PROGRAM = """\
# Forward

exp = np.exp(x)  # (1, 2)
sin = np.sin(exp)  # (1, 2)
add = exp + sin  # (1, 2)
add_2 = add + sin  # (1, 2)
get_item = np.asarray(exp[:, 1:])  # (1, 1)
multiply = get_item * exp  # (1, 2)
add_3 = add_2 + multiply  # (1, 2)
sum_ = np.asarray(np.sum(add_3))  # ()

# Backward

d_sum_ = np.ones_like(sum_)  # ()
#   sum: d_x = spread(g, x.shape, axis)
d_add_3 = spread(d_sum_, add_3.shape, None)  # (1, 2)
#   add: d_a = g; d_b = g
d_add_2 = d_add_3  # (1, 2)
d_multiply = d_add_3  # (1, 2)
#   multiply: d_a = g * b; d_b = g * a
part = d_multiply * exp  # (1, 2)
d_get_item = np.sum(part, axis=(1,), keepdims=True)  # (1, 1), un-broadcast
d_exp = d_multiply * get_item  # (1, 2)
#   get_item: d_x = scatter(g, x.shape, index)
d_exp[:, 1:] += d_get_item  # (1, 1)
d_add = d_add_2  # (1, 2)
d_sin = d_add_2  # (1, 2)
d_exp += d_add  # (1, 2)
d_sin = d_sin + d_add  # (1, 2)
#   sin: d_x = g * np.cos(x)
d_exp += d_sin * np.cos(exp)  # (1, 2)
#   exp: d_x = g * out
d_x = d_exp * exp  # (1, 2)

grads = {
    "x": d_x
}

loss = sum_
"""


def test_a_module_that_repeats_is_a_function():
    (loss,), _ = model_and_loss(num_layers=2)
    (deeper,), _ = model_and_loss(num_layers=5)
    plain, short, five = (explain(x, collapse=c) for x, c in ((loss, False), (loss, True), (deeper, True)))
    assert len(short.splitlines()) < len(plain.splitlines())
    assert len(five.splitlines()) <= len(short.splitlines()) + 3 * 7
    assert short.count("def h_forward(m, x):") == short.count("def h_backward(m, d, x):") == 1
    assert "d_h_0.add_2 = h_backward(h_1, d_h_1, h_0.add_2)" in short
    x = Tensor([1.0], requires_grad=True)
    with study.record():
        y = np.sum(x * 2)
    assert explain(y, collapse=True) == explain(y)


BY_SPEC = [
    {},
    {"tie_embeddings": False, "head_bias": True, "dropout": 0.2},
    {"tie_embeddings": True, "head_bias": False, "dropout": 0.2, "dtype": np.float64},
    {"num_layers": 1, "bias": False, "make": lambda model: [model.loss(IDS[0], IDS[1])]},
    {"num_layers": 3, "make": lambda model: [model.loss(IDS, IDS, label_smoothing=0.1)]},
    {"dropout": 0.1, "make": both},
]


def test_a_model_by_its_specifications(tmp_path):
    """Equal but for rounding, plain and collapsed; in float64 to its digits."""
    folders, wanted = [], []
    for number, settings in enumerate(BY_SPEC):
        losses, tensors = model_and_loss(**settings)
        for collapse in (False, True):
            folders.append(tmp_path / f"{number}{collapse}")
            explain(losses if len(losses) > 1 else losses[0], folders[-1], collapse=collapse, kernels="spec")
        for loss in losses:
            loss.backward()
        wanted += [([loss.data for loss in losses], {name: x.grad.data for name, x in tensors.items()})] * 2
    for folder, (losses, grads), (want_losses, want_grads) in zip(folders, executed(tmp_path, *folders), wanted, strict=True):
        digits = 1e-12 if want_losses[0].dtype == np.float64 else 1e-5
        assert np.allclose(losses, want_losses, rtol=digits, atol=0), folder
        assert set(grads) == set(want_grads), folder
        for name, want in want_grads.items():
            assert (grads[name].shape, grads[name].dtype) == (want.shape, want.dtype), (folder, name)
            assert np.abs(grads[name] - want).max() <= digits * np.abs(want).max(), (folder, name)


def test_every_op_by_its_specification(tmp_path, monkeypatch):
    """All samples of all ops in one sum, each result weighed differently."""
    monkeypatch.setattr(Observer, "line", lambda *_: (sys._getframe(), ""))
    cases, total = [], 0.0
    for op, number in SAMPLES:
        f, inputs = sample(op, number)
        leaves = [Tensor(x, requires_grad=True) for x in inputs]
        with study.record():
            total = total + weigh(f(*leaves))
        cases += [(NAMES[SAMPLES.index((op, number))], x) for x in leaves]
    text = explain(total, tmp_path, kernels="spec")
    total.backward()
    ((losses, grads),) = executed(tmp_path, tmp_path)
    assert np.allclose(losses[0], total.data, rtol=1e-12)
    want = [(name, x.grad.data) for name, x in cases if x.grad is not None]
    assert len(grads) == len(want)
    assert not [n for g, (n, x) in zip(grads.values(), want, strict=True) if not np.allclose(g, x, rtol=1e-9, atol=1e-10)]
    assert "_saved" not in text


def test_a_step_by_its_specifications_is_short_enough_to_be_read():
    """A model of one block. Choices about dropout that is off, and what a rule does not read, are not there."""
    (loss,), _ = model_and_loss(num_layers=1, tie_embeddings=False, head_bias=True)
    lines = explain(loss, kernels="spec").splitlines()
    assert len(lines) - lines.index("# Forward") < 100
    assert len(lines) < 210 < 500 < len(explain(loss).splitlines())
    assert max(map(len, lines)) <= 128
    assert not [line for line in lines if re.search(r"\bkeep\b|Softmax|# type|noqa", line)]
    for line in (
        "def causal_attention_vjp(g, qkv, *, heads):",
        "    dp = h @ np.swapaxes(v, -1, -2)",
        "    return merge_heads(weights @ v)  # (..., T, C)",
        "h_0_mlp_c_fc_linear = h_0_ln_2_layer_norm @ h_0_mlp_c_fc_weight + h_0_mlp_c_fc_bias  # (2, 4, 16)",
        "d_h_0_mlp_gelu = d_h_0_mlp_c_proj_linear @ h_0_mlp_c_proj_weight.T  # (2, 4, 16)",
        "d_h_0_mlp_c_proj_weight = h_0_mlp_gelu.reshape(-1, 16).T @ d_h_0_mlp_c_proj_linear.reshape(-1, 8)  # (16, 8)",
        "d_h_0_mlp_c_proj_bias = np.sum(d_h_0_mlp_c_proj_linear, axis=(0, 1))  # (8,), un-broadcast",
        "np.add.at(d_wte_weight, wte_embedding_ids, d_wte_embedding)  # (2, 4, 8)",
    ):
        assert line in lines
    (loss,), _ = model_and_loss(num_layers=1, dropout=0.2)
    assert "    return merge_heads((weights * keep) @ v)  # (..., T, C)" in explain(loss, kernels="spec").splitlines()


class Doubled(Fused):
    """A fused op without a gradient on paper."""

    spec = staticmethod(lambda x: 2 * x)

    @staticmethod
    def forward(x):
        return 2 * x, 2.0

    @staticmethod
    def vjp(g, saved, x):
        return (g * saved,)


def test_a_fused_op_without_a_gradient_on_paper_stays_a_kernel(tmp_path):
    x = Tensor(np.array([1.3, 2.7]), requires_grad=True)
    with study.record():
        loss = np.sum(Doubled.call(x) * x)
    explain(loss, tmp_path, kernels="spec")
    loss.backward()
    (([found], grads),) = executed(tmp_path, tmp_path)
    assert same(found, loss.data)
    assert same(grads["x"], x.grad.data)


@pytest.mark.parametrize(
    ("absent", "wanted", "unread"),
    [
        ({"b"}, "def f(x, b=None):\n    # a remark\n    return x\n", {"b"}),
        (set(), "def f(x, b=None):\n    # a remark\n    return x * (b + 1) + b\n", set()),
    ],
)
def test_a_choice_that_is_made(absent, wanted, unread):
    source = "def f(x, b=None):\n    # a remark\n    return x * (1 if b is None else (b + 1)) + (0 if b is None else b)\n"
    text, found = without_choices(source, absent)
    assert (ast.dump(ast.parse(text)), found) == (ast.dump(ast.parse(wanted)), unread)
    assert "# a remark" in text


@pytest.mark.parametrize("kernels", ["compiled", "", None, ["spec"]])
def test_kernels_that_there_are_not(kernels):
    (loss,), _ = model_and_loss(num_layers=1)
    with pytest.raises(GraphError, match=re.escape(f"kernels={kernels!r} is neither")):
        explain(loss, kernels=kernels)


def test_names_that_python_or_the_program_has_already(tmp_path):
    """Leaves called as functions, keywords of np.savez, and the gradients of others."""
    file, rows, d_file, np_sum = (Tensor(np.array([[1.0, n]]), requires_grad=True) for n in range(4))
    inputs = rows
    with study.record():
        linear = ops.linear(file, d_file.T)
        loss = np.sum(ops.softmax(linear * inputs) * np_sum)
    check(tmp_path, [([loss], {"file": file, "rows": rows, "d_file": d_file, "np_sum": np_sum})])


HALF = 0.5  # what rules of one's own may use


def halves(x):
    """Two halves of an array."""
    return HALF * x, x - HALF * x


class Halved(Op):
    """An op of one's own, whose rule is a few lines and uses what its module has."""

    @staticmethod
    def forward(x, *, shift):
        first, second = halves(x)
        return first * second + shift

    @staticmethod
    def vjp(g, out, x, *, shift):
        if g.shape != x.shape:
            raise ValueError("never")
        first, second = halves(x)
        return (HALF * (g * first + g * second),)


class Forgotten(Op):
    """An op whose rule scatters in more than one line."""

    @staticmethod
    def forward(x):
        return x[0]

    @staticmethod
    def vjp(g, out, x):
        twice = 2 * g
        return (scatter(twice, x, 0),)


def test_an_op_of_ones_own(tmp_path):
    x = Tensor(np.array([1.3, 2.7], np.float32), requires_grad=True)
    with study.record():
        loss = np.sum(Halved.call(x, shift=np.array([1, np.nan], np.float32))[0])
        other = np.sum(Forgotten.call(x))
    assert "halves(x)" in explain(loss)
    check(tmp_path, [([loss], {"x": x})])
    with pytest.raises(GraphError, match="a rule of several lines calls scatter"):
        explain(other)


def test_what_cannot_be_explained(tmp_path):
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    with pytest.raises(GraphError, match="not computed inside"):
        explain(np.sum(x * 2))
    with pytest.raises(GraphError, match="no loss in this list"):
        explain([])
    with study.record():
        y = x * 2
        loss = y.sum()
    with pytest.raises(GraphError, match=r"the loss has shape \(2,\), not one number"):
        explain(y)
    remove = y.register_hook(lambda g: g * 2)
    with pytest.raises(GraphError, match="multiply has a backward hook"):
        explain(loss)
    remove()
    explain(loss)


def test_a_folder_that_cannot_be_written(tmp_path):
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    with study.record():
        loss = (x * x).sum()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GraphError, match=r"cannot be written into .*file"):
        explain(loss, tmp_path / "file")
    (tmp_path / "folder" / "program.py").mkdir(parents=True)
    with pytest.raises(GraphError, match=r"program\.py is a folder"):
        explain(loss, tmp_path / "folder")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["program.py"]
