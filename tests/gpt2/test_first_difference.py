"""Where the losses of a learner's GPT-2 leave ours: which op is the first to differ, and how."""

import pytest
from solved import EVERY, folder_of, verdict_of

from gpt2.course.checks import e23_training


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """The first is enough here."""
    monkeypatch.setattr(e23_training, "STEPS", 6)
    e23_training.beginning.cache_clear()
    yield
    e23_training.beginning.cache_clear()


CASES = {
    "no mean term": (
        ("e15_layer_norm", "dn - of_mean - of_variance", "dn - of_variance"),
        "backward differs first at ln_f.layer_norm, gradient of x: along axis 2 every entry is off by the same number: a mean",
    ),
    "a gain twice": (
        ("e15_layer_norm", "np.sum(dout * n,", "2 * np.sum(dout * n,"),
        "backward differs first at ln_f.layer_norm, gradient of gain: off by a factor of 2",
    ),
    "another epsilon": (("e15_layer_norm", "EPS = 1e-5", "EPS = 1e-3"), "forward differs first at h.0.ln_1.layer_norm"),
    "uses that do not add up": (
        ("e08_tensor", "gradients[id(x)] + part if", "part if"),
        "backward differs first at h.1.ln_2.layer_norm, gradient of x or h.1.add, gradient of a",
    ),
    "scores backward without the root": (
        ("e19_head_backward", "scale = np.sqrt(q.shape[-1])", "scale = 1.0"),
        "backward differs first at h.1.attn.causal_attention, gradient of qkv: wrong only before 32 along axis 2",
    ),
    "GELU": (("e09_activations", "0.044715", "0.05"), "forward differs first at h.0.mlp.gelu"),
    "no residual": (("e21_block", "return x + feed_forward(", "return feed_forward("), "forward differs first at h.0.add"),
    "half the heads": (
        ("e21_block", "return linear(merged, ", "return linear(merged * 0.5, "),
        "forward differs first at h.0.attn.c_proj.linear",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_first_op_that_differs(case, tmp_path):
    (key, old, new), said = CASES[case]
    source = EVERY[key].solved("en")
    assert old in source
    found = verdict_of("e23_training", folder_of(tmp_path / "one", {key: source.replace(old, new)}))
    assert found.verdict == "wrong"
    assert found.why.en.startswith(said), found.why.en
    assert found.mistake is None
    assert found.line.en.startswith("the mistake is not in this file: look into what it imports, e08_tensor")


def test_an_optimizer_that_differs_is_not_an_op(tmp_path):
    source = EVERY["e14_optimizers"].solved("en").replace("1 - beta2**t", "1 - beta2")
    found = verdict_of("e23_training", folder_of(tmp_path / "one", {"e14_optimizers": source}))
    assert "differs first" not in found.why.en
    assert found.where.en.startswith("the losses of 4 steps: [2] is ")
