"""Pictures: what is in them, for runs of every shape. How they look was judged by eye."""

import errno
import itertools
import math
import os
import signal

import matplotlib.figure
import numpy as np
import pytest
from small_runs import run_once

from gpt2.cli import main
from gpt2.run.health.updates import UPDATE
from gpt2.run.health.verdict import percent
from gpt2.run.metrics import as_line, history
from gpt2.run.plots import plot_loss, plot_training
from gpt2.training.step import Trainer


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
    return run_once(tmp_path_factory.mktemp("runs") / "a", text, model={"num_layers": 9})


SMALL = "--steps=4 --eval-every=2 --d-model=8 --num-layers=1 --num-heads=2 --max-seq-len=16 --sample-tokens=5".split()  # noqa: SIM905


@pytest.mark.parametrize(("flags", "names"), [([], ["loss.png", "training.png"]), (["--no-plots"], [])])
def test_the_command_draws_the_pictures_of_a_training(tmp_path, text, capsys, flags, names):
    (tmp_path / "my.txt").write_text(text[:3000])
    assert main(["train", "--data", str(tmp_path / "my.txt"), "--out", str(tmp_path / "a"), *SMALL, *flags]) == 0
    assert sorted(path.name for path in (tmp_path / "a").glob("*.png")) == names
    assert all((tmp_path / "a" / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert ("  open " in capsys.readouterr().out) == bool(names)


def test_a_picture_that_could_not_be_drawn_is_not_shown(tmp_path, text, monkeypatch, capsys):
    (tmp_path / "my.txt").write_text(text[:3000])
    train = ["train", "--data", str(tmp_path / "my.txt"), "--out", str(tmp_path / "a"), *SMALL]
    monkeypatch.setattr("gpt2.run.plots.plot_loss", lambda *_: 1 / 0)
    assert main(train) == 0
    output = capsys.readouterr().out
    assert "loss.png is not drawn: division by zero" in output
    assert "open " not in output
    assert (tmp_path / "a" / "training.png").exists()


def test_an_interrupted_training_without_pictures_goes_on_without(tmp_path, text, monkeypatch, capsys):
    (tmp_path / "my.txt").write_text(text[:3000])
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda *args: (signal.raise_signal(signal.SIGINT), step(*args))[1])
    for flags in ([], ["--no-plots"]):
        out = str(tmp_path / f"a{len(flags)}")
        assert main(["train", "--data", str(tmp_path / "my.txt"), "--out", out, *SMALL, *flags]) == 130
        lines = capsys.readouterr().out.splitlines()
        assert "  " + " ".join(["gpt2 train --resume --out", out, *flags]) in lines


def test_the_loss_has_tokens_above_steps_and_the_baselines(finished, drawn, tmp_path):
    _, _, rows = finished
    plot_loss(tmp_path / "a.png", rows, "title", step_tokens=192)
    (axes,) = drawn[0].axes
    (above,) = axes.child_axes
    assert above.get_xlabel() == "tokens seen"
    assert above.get_xlim() == pytest.approx((0, 30 * 192))
    texts = [text.get_text() for text in axes.texts]
    names = ["ln V: every token equally likely", "unigram", "bigram", "trigram with back-off"]
    assert [text.split(" (")[0] for text in texts] == names
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
    assert ratios.get_yscale() == "log"
    (band,) = (shape.get_paths()[0].vertices for shape in ratios.collections if len(shape.get_paths()[0].vertices) == 7)
    assert (band[:, 1].min(), band[:, 1].max()) == UPDATE  # what health calls usual
    assert f"{percent(UPDATE[0])} to {percent(UPDATE[1])}" in ratios.get_title("left")
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
    assert line.get_ydata()[0] == pytest.approx(1e-3)
    assert math.isnan(line.get_ydata()[1])


def within(axes):
    """Whether each point of each curve is inside of its panel, and not on its frame."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    points = np.concatenate([line.get_xydata() for line in axes.lines if line.get_linestyle() != "--"])
    points = points[np.isfinite(points).all(axis=1)]
    return bool(((points > (left, low - (low == 0))) & (points < (right, high))).all())


def row_of(step, size, every):
    row = {"step": step, "train_loss": 1.0, "learning_rate": size, "grad_norm": size}
    if step % every == 0:
        block = {"in_std": 1.0, "out_std": size, "dead": min(size, 0.9), "off": min(size, 0.9), "entropy": {"0": size % 1}}
        row |= {"val_loss": 2.0, "grad_norms": {"h.0": size}, "update_ratios": {"wte.weight": math.log10(size)}}
        row["diagnostics"] = {"blocks": {"h.0": {**block, "sink": {"0": 0.5}, "attention_error": 0.0}}}
    return row


@pytest.mark.parametrize("steps", [1, 20, 400])
@pytest.mark.parametrize("size", [1e-9, 1e-5, 0.0024, 1.0, 990.0, 1e12])
def test_no_curve_leaves_its_panel_and_no_two_texts_meet(drawn, tmp_path, steps, size):
    plot_training(
        tmp_path / "a.png",
        [row_of(step, size * (1 - step / 2000), max(1, steps // 10)) for step in range(1, steps + 1)],
        "title",
    )
    (figure,) = drawn
    assert all(within(axes) for axes in figure.axes)
    texts = [text for axes in figure.axes for text in (axes._left_title, axes.get_legend(), axes.xaxis.label) if text]
    boxes = [text.get_window_extent() for text in texts]
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    ticks = [label for axes in figure.axes for label in (*axes.get_yticklabels(), *axes.get_xticklabels()) if label.get_text()]
    assert not [label for label in ticks if label.get_window_extent().count_overlaps(boxes)]
    assert not any("e-" in label.get_text() for label in figure.axes[4].get_yticklabels())


def test_a_part_has_one_colour_and_blocks_have_a_scale_that_grey_keeps(finished, drawn, tmp_path):
    plot_training(tmp_path / "a.png", finished[2], "title")
    styles = {}
    for axes in drawn[0].axes[1:3]:
        for line in axes.lines:
            styles.setdefault(line.get_label(), set()).add((line.get_color(), line.get_marker()))
    both = {"wte", "wpe", "lm_head"}
    assert all(len(styles[name]) == 1 for name in both)
    kinds = [styles[text.get_text()] for text in drawn[0].axes[2].get_legend().get_texts()]
    assert len({marker for ((_, marker),) in kinds}) == len(kinds)  # colours alone are not told apart in grey
    blocks = [line.get_color() for line in drawn[0].axes[3].lines]
    light = [0.3 * red + 0.59 * green + 0.11 * blue for red, green, blue, _ in blocks]
    assert light == sorted(light)


@pytest.mark.parametrize(
    "rows", [[{"step": 0, "val_loss": 4.0}], [{"step": 0, "val_loss": math.inf}, {"step": 1, "val_loss": 2.0}]]
)
def test_a_run_that_has_hardly_begun_and_one_of_an_older_version(rows, tmp_path):
    plot_loss(tmp_path / "a.png", rows, "title", step_tokens=10)
    plot_training(tmp_path / "b.png", rows, "title")
    assert (tmp_path / "b.png").exists()


def test_a_step_that_was_taken_again_is_drawn_once(drawn, tmp_path):
    row = {"train_loss": 1.0, "learning_rate": 0.1, "grad_norm": 1.0}
    rows = [{"step": 1, **row}, {"step": 2, **row, "skipped": "spike"}, {"step": 1, **row, "learning_rate": 0.2}]
    (tmp_path / "metrics.jsonl").write_text("".join(map(as_line, rows)))
    plot_training(tmp_path / "a.png", history(tmp_path / "metrics.jsonl"), "title")
    assert list(drawn[0].axes[0].lines[0].get_xydata()[:, 1]) == [0.2]


# -- of more rows than a picture has columns, and of numbers that nobody would write


def many_rows(steps):
    for step in range(steps + 1):
        row = {"step": step, "train_loss": 1 + 1 / (step + 1), "learning_rate": 0.1, "grad_norm": 1.0}
        if step % 10 == 0:
            block = {"in_std": 1.0, "out_std": 1.0, "dead": 0.0, "off": 0.1, "entropy": {"0": 0.5}, "sink": {"0": 0.5}}
            row |= {"val_loss": 2 + 1 / (step + 1), "grad_norms": {"h.0": 1.0}, "update_ratios": {"wte.weight": -3.0}}
            row["diagnostics"] = {"blocks": {"h.0": {**block, "attention_error": 0.0}}}
        yield row


def test_a_long_run_is_drawn_from_means_and_from_some_of_its_evaluations(drawn, tmp_path):
    plot_loss(tmp_path / "a.png", many_rows(70_000), "title")
    (axes,) = drawn[0].axes
    raw, smooth, val = axes.lines[:3]
    assert 16_000 < len(raw.get_xdata()) < 34_000
    assert smooth.get_label() == f"training (mean of {len(raw.get_xdata()) // 50 * 4} steps)"
    assert (raw.get_xdata()[0], raw.get_xdata()[-1], axes.get_xlim()[1]) == (3, 70_000, 70_000)
    assert raw.get_ydata()[0] == pytest.approx(1 + (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert len(val.get_xdata()) == 7001
    plot_training(tmp_path / "b.png", many_rows(70_000), "title")
    rate, _, ratios, residual, _, _ = drawn[1].axes
    assert len(rate.lines[0].get_xdata()) == len(raw.get_xdata())
    for axes in (ratios, residual):
        x = axes.lines[0].get_xdata()
        assert 256 < len(x) < 514
        assert (x[0], x[-1]) == (0, 70_000)


@pytest.mark.filterwarnings("error")
def test_numbers_and_names_that_nobody_would_write(tmp_path):
    """What is in a log can be a stranger's."""
    odd = [1e308, -1e308, 1e-320, math.nan, math.inf, -math.inf, 0.0]
    names = ["h.0", "$\\frac{", "\x1b[2J", "_", "h.99999999999"]
    rows = list(many_rows(70))
    for i, row in enumerate(rows):
        row |= {"train_loss": odd[i % 7], "grad_norm": odd[i % 5], "learning_rate": odd[i % 6], "step": i * 10**10}
        if "diagnostics" in row:
            row |= {"val_loss": odd[i // 10 % 7], "grad_norms": dict(zip(names, odd, strict=False))}
            row["baselines"] = {"uniform": odd[i // 10 % 7], "bigram": odd[i // 5 % 7]} | dict(zip(names, odd, strict=False))
            row["diagnostics"]["blocks"] = {name: {**row["diagnostics"]["blocks"]["h.0"], "out_std": 1e308} for name in names}
    plot_loss(tmp_path / "a.png", rows, "$\\frac{ \n\x1b", step_tokens=10)
    plot_training(tmp_path / "b.png", rows, "$\\frac{ \n\x1b")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf, -1.0, 1e308, 0.0])
def test_a_learning_rate_that_none_has(tmp_path, rate):
    plot_training(tmp_path / "a.png", [{**row, "learning_rate": rate} for row in many_rows(20)], "odd")
    assert (tmp_path / "a.png").stat().st_size


# -- what can go wrong when they are written


@pytest.mark.parametrize("where", ["loss", "training"])
def test_a_picture_that_fails_costs_no_run(tmp_path, text, monkeypatch, capsys, where):
    def fail(*_):
        raise ValueError("two\nlines")

    (tmp_path / "my.txt").write_text(text[:3000])
    monkeypatch.setattr(f"gpt2.run.plots.plot_{where}", fail)
    assert main(["train", "--data", str(tmp_path / "my.txt"), "--out", str(tmp_path / "a"), *SMALL]) == 0
    assert (tmp_path / "a" / "model.safetensors").exists()
    assert f"{tmp_path / 'a' / where}.png is not drawn: two lines" in capsys.readouterr().out


@pytest.fixture(scope="module")
def run(tmp_path_factory, text):
    return run_once(tmp_path_factory.mktemp("runs") / "a", text)[0].folder


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.pdf"])
def test_a_picture_is_whole_or_not_there(run, tmp_path, monkeypatch, capsys, name):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(["plot", str(run), "--out", str(tmp_path / name)]) == 2
    assert f"{name}: cannot be written: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["plot", str(run), "--out", str(tmp_path / name)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_link_in_the_place_of_a_picture_is_replaced(run, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "a.png").symlink_to("mine")
    assert main(["plot", str(run), "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "a.png").is_symlink()
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "said"), [("a.xyz", "xyz"), ("folder", "folder.png"), ("pipe.png", "it is a device or a pipe")]
)
def test_where_no_picture_can_be(run, tmp_path, capsys, name, said):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    assert main(["plot", str(run), "--out", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
