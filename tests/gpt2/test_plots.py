"""Pictures: what is in them, for runs of every shape. How they look was judged by eye."""

import math

import matplotlib.figure
import pytest
from small_runs import run_once

from gpt2.metrics import as_line, history
from gpt2.plots import plot_loss, plot_training


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], matplotlib.figure.Figure.savefig

    def kept(self, path, *args, **kwargs):
        figures.append(self)
        return save(self, path, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", kept)
    return figures


@pytest.fixture(scope="module")
def finished(tmp_path_factory, text):
    return run_once(tmp_path_factory.mktemp("runs") / "a", text, model={"num_layers": 9}, draws=True)


def test_a_training_draws_its_pictures(finished):
    run, _, _ = finished
    for name in ("loss.png", "training.png"):
        assert (run.folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_loss_has_tokens_above_steps_and_the_baselines(finished, drawn, tmp_path):
    _, result, rows = finished
    plot_loss(tmp_path / "a.png", rows, result.baselines, "title", step_tokens=192)
    (axes,) = drawn[0].axes
    (above,) = axes.child_axes
    assert above.get_xlabel() == "tokens seen"
    assert above.get_xlim() == pytest.approx((0, 30 * 192))
    texts = [text.get_text() for text in axes.texts]
    assert [text.split(" (")[0] for text in texts] == ["ln V: every token equally likely", "unigram", "bigram"]
    validation = next(line for line in axes.lines if line.get_label().startswith("validation"))
    assert list(validation.get_ydata()) == [row["val_loss"] for row in rows if "val_loss" in row]


def test_the_inside_of_a_training(finished, drawn, tmp_path):
    _, _, rows = finished
    plot_training(tmp_path / "a.png", rows, "title")
    rate, gradients, ratios, residual, off, entropy = drawn[0].axes
    assert list(rate.lines[0].get_ydata()) == [row["learning_rate"] for row in rows[1:]]
    by_name = {line.get_label(): line for line in gradients.lines}
    assert list(by_name["h.8"].get_ydata()) == [row["grad_norms"]["h.8"] for row in rows if "grad_norms" in row]
    assert gradients.get_yscale() == "log"
    assert [-3, -3] in [list(line.get_ydata()) for line in ratios.lines]
    names = {"wte", "wpe", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "lm_head"}
    assert names == {text.get_text() for text in ratios.get_legend().get_texts()}
    blocks = [row["diagnostics"]["blocks"] for row in rows if "diagnostics" in row]
    assert list(residual.lines[8].get_ydata()) == [block["h.8"]["out_std"] for block in blocks]
    assert len(off.lines) == 18
    assert list(off.lines[17].get_ydata()) == [block["h.8"]["dead"] for block in blocks]
    assert list(entropy.lines[0].get_ydata()) == pytest.approx([sum(b["h.0"]["entropy"].values()) / 2 for b in blocks])
    assert len(residual.get_legend().get_texts()) < 9  # of many blocks, some are named


def test_one_colour_per_kind_of_matrix_is_the_mean_of_the_blocks_that_moved(drawn, tmp_path):
    ratios = {"h.0.mlp.c_fc.weight": -2.0, "h.1.mlp.c_fc.weight": -4.0, "h.2.mlp.c_fc.weight": -math.inf}
    row = {"train_loss": 1.0, "learning_rate": 0.1, "grad_norm": math.nan, "grad_norms": {"h.0": 1.0}}
    rows = [{"step": 1, "update_ratios": ratios, **row}, {"step": 2, "update_ratios": dict.fromkeys(ratios, -math.inf), **row}]
    plot_training(tmp_path / "a.png", rows, "title")
    line = drawn[0].axes[2].lines[0]
    assert line.get_label() == "mlp.c_fc"
    assert line.get_ydata()[0] == -3
    assert math.isnan(line.get_ydata()[1])


@pytest.mark.parametrize(
    "rows", [[{"step": 0, "val_loss": 4.0}], [{"step": 0, "val_loss": math.inf}, {"step": 1, "val_loss": 2.0}]]
)
def test_a_run_that_has_hardly_begun_and_one_of_an_older_version(rows, tmp_path):
    plot_loss(tmp_path / "a.png", rows, {"uniform": 4.0}, "title", step_tokens=10)
    plot_training(tmp_path / "b.png", rows, "title")
    assert (tmp_path / "b.png").exists()


def test_a_step_that_was_taken_again_is_drawn_once(drawn, tmp_path):
    row = {"train_loss": 1.0, "learning_rate": 0.1, "grad_norm": 1.0}
    rows = [{"step": 1, **row}, {"step": 2, **row, "skipped": "spike"}, {"step": 1, **row, "learning_rate": 0.2}]
    (tmp_path / "metrics.jsonl").write_text("".join(map(as_line, rows)))
    plot_training(tmp_path / "a.png", history(tmp_path / "metrics.jsonl"), "title")
    assert list(drawn[0].axes[0].lines[0].get_xydata()[:, 1]) == [0.2]
