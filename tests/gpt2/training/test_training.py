"""Training as a whole: it learns, it repeats bit for bit, and shards are the batch."""

import json
import os
import signal

import matplotlib.figure
import numpy as np
import pytest
from small_runs import MODEL, run_once, without_speed

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.cli import main
from gpt2.run.metrics import read_metrics
from gpt2.text import batches
from gpt2.text.corpora import NAMED
from gpt2.text.corpora.generated import addition
from gpt2.training.shards import Shards
from gpt2.training.step import NonFiniteError, Trainer
from tinygrad2 import kernels


@pytest.fixture(scope="module")
def finished(tmp_path_factory, text):
    return run_once(tmp_path_factory.mktemp("runs") / "a", text)


def test_it_learns_and_says_so(finished):
    _, result, rows = finished
    assert [row["step"] for row in rows] == list(range(31))
    assert [row["step"] for row in rows if "val_loss" in row] == [0, 10, 20, 30]
    assert rows[-1]["val_loss"] == result.val_loss < rows[0]["val_loss"] - 0.5
    assert {"train_loss", "learning_rate", "grad_norm", "tokens_per_s"} <= rows[1].keys()
    assert rows[5]["learning_rate"] == pytest.approx(3e-3)
    assert result.baselines["bigram"] < result.baselines["uniform"]


def test_the_run_folder_is_complete(finished):
    run, _, _ = finished
    names = "checkpoints config.json lock metrics.jsonl model.safetensors samples.txt tokenizer.json"
    assert sorted(path.name for path in run.folder.iterdir()) == names.split()
    assert run.samples.read_text().count("--- step") == 4
    assert run.read_config().training.steps == 30


def test_the_saved_model_is_the_trained_one(finished, text):
    run, result, _ = finished
    model, tokenizer = run.load_model()
    _, val = batches.split(tokenizer.encode(text), 0.1, 16)
    with Shards(1, 1, 1) as shards:
        assert shards.evaluate(model, batches.consecutive(val, 16, 64)) == pytest.approx(result.val_loss, rel=1e-6)


@pytest.mark.parametrize(
    "extra", [{}, {"model": {"dropout": 0.2}}, {"threads": 2, "shards": 3}], ids=["plain", "dropout", "threads"]
)
def test_same_seed_same_log_bit_for_bit(tmp_path, text, extra):
    logs = [run_once(tmp_path / name, text, **extra) for name in "ab"]
    assert without_speed(logs[0][2]) == without_speed(logs[1][2])
    assert logs[0][0].model.read_bytes() == logs[1][0].model.read_bytes()
    assert logs[0][0].samples.read_text() == logs[1][0].samples.read_text()


def test_another_seed_another_log(tmp_path, text, finished):
    _, _, rows = run_once(tmp_path / "b", text, seed=1)
    assert all(a["train_loss"] != b["train_loss"] for a, b in zip(rows[1:], finished[2][1:], strict=True))


def test_evaluating_more_often_changes_nothing(tmp_path, text, finished):
    _, _, rows = run_once(tmp_path / "b", text, eval_every=3)
    assert [row.get("train_loss") for row in rows] == [row.get("train_loss") for row in finished[2]]


def make(dropout=0.0, dtype=np.float64):
    model = GPT2(GPT2Config(vocab_size=11, dropout=dropout, **MODEL), dtype=dtype)
    ids = np.random.default_rng(0).integers(0, 11, (7, 17))
    return model, (ids[:, :-1], ids[:, 1:])


@pytest.mark.parametrize(("threads", "shards"), [(1, 2), (1, 7), (2, 2), (3, 5), (4, 100)])
def test_the_gradient_of_a_batch_is_the_sum_of_its_shards(threads, shards):
    model, batch = make()
    model.loss(*batch).backward()
    expected = [p.grad.data for p in model.parameters()]
    with Shards(threads, shards, 7) as shards:
        loss, grads = shards.loss_and_gradients(model, batch, seed=0, step=0)
    assert loss == pytest.approx(model.loss(*batch).item(), rel=1e-12)
    for g, right in zip(grads, expected, strict=True):
        np.testing.assert_allclose(g, right, rtol=1e-9, atol=1e-14)


def test_threads_do_not_change_a_bit_at_the_same_shards():
    """Where shards are worked on by threads; where kernels share their rows, a library may add in another order."""
    found = []
    for threads in (1, 4):
        model, batch = make(dropout=0.3, dtype=np.float32)
        with Shards(threads, 4, 7) as shards:
            found.append([shards.loss_and_gradients(model, batch, seed=0, step=step) for step in range(3)])
    for (loss, grads), (other_loss, others) in zip(*found, strict=True):
        assert loss == pytest.approx(other_loss, rel=1e-6 if kernels.SPREADS else 0)
        for a, b in zip(grads, others, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(a).max() if kernels.SPREADS else 0)


def test_a_failing_shard_is_not_swallowed():
    model, (x, y) = make()
    with Shards(2, 2, 7) as shards, pytest.raises(Exception, match="outside the table's 11 rows"):
        shards.loss_and_gradients(model, (x + 11, y), seed=0, step=0)


def test_a_loss_that_is_not_a_number_never_reaches_the_parameters():
    model, _ = make(dtype=np.float32)
    with Shards(1, 1, 12) as shards:
        trainer = Trainer(model, TrainConfig(), np.random.default_rng(0).integers(0, 11, 500), shards)
        trainer.step()
        model.ln_f.weight.data[3] = np.inf
        before = [p.data.copy() for p in model.parameters()]
        with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"step 2: loss .*lower --learning-rate"):
            trainer.step()
    for p, array in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, array)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_the_model_of_the_last_step(tmp_path, text, monkeypatch, number):
    step = Trainer.step

    def interrupted(self, measure):
        if self.steps == 11:
            os.kill(os.getpid(), number)
        return step(self, measure)

    handler = signal.getsignal(number)
    monkeypatch.setattr(Trainer, "step", interrupted)
    run, result, rows = run_once(tmp_path / "a", text)
    assert result.signal == number
    assert result.steps == rows[-1]["step"] == 11
    assert signal.getsignal(number) == handler
    run.load_model()


def test_a_run_folder_is_never_overwritten(finished, text):
    run, _, _ = finished
    before = run.model.read_bytes()
    with pytest.raises(Exception, match="already holds a run"):
        run_once(run.folder, text)
    assert run.model.read_bytes() == before


SMALL = "--steps=4 --eval-every=2 --d-model=8 --num-layers=1 --num-heads=2 --sample-tokens=5".split()  # noqa: SIM905


@pytest.mark.parametrize("eval_windows", [0, 10])
def test_every_report_says_how_far_a_perfect_model_is(tmp_path, capsys, monkeypatch, eval_windows):
    monkeypatch.setitem(NAMED, "addition", lambda: addition(count=2500))
    figures = []
    savefig = matplotlib.figure.Figure.savefig
    monkeypatch.setattr(
        matplotlib.figure.Figure, "savefig", lambda self, *args, **how: (figures.append(self), savefig(self, *args, **how))
    )
    out = tmp_path / "run"
    flags = ["--max-seq-len", "32", "--eval-windows", str(eval_windows)]
    assert main(["train", "--data", "addition", "--out", str(out), *flags, *SMALL]) == 0
    report = capsys.readouterr().out
    perfect = 8 * np.log(10) / 16  # of whole lines, whichever windows are evaluated
    (last,) = (row for row in read_metrics(out / "metrics.jsonl") if row["step"] == 4)
    assert last["above_perfect"] == pytest.approx(last["val_loss"] - perfect)
    assert f"a perfect model          1.1513: the loss is {last['above_perfect']:.4f} above it" in report
    title = f"step 4, validation loss {last['val_loss']:.3f}, {last['above_perfect']:.3f} above a perfect model"
    assert title in report
    assert title in (out / "samples.txt").read_text()
    (axes,) = next(figure.axes for figure in reversed(figures) if len(figure.axes) == 1)  # the other has panels
    assert "a perfect model (1.151)" in [text.get_text() for text in axes.texts]
    assert axes.get_ylim()[0] < 1.15

    assert main(["eval", "--run", str(out), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["perfect"] == pytest.approx(perfect, rel=1e-4)  # whole windows, but for the first and the last character
    assert main(["eval", "--run", str(out)]) == 0
    assert f"a perfect model 1.1513: the loss is {about['loss'] - about['perfect']:.4f} above it" in capsys.readouterr().out
    (tmp_path / "some.txt").write_text("0123+9984=10107\n" * 10)
    assert main(["eval", "--run", str(out), "--data", str(tmp_path / "some.txt")]) == 0
    assert "perfect" not in capsys.readouterr().out  # nobody knows where this comes from


def test_a_folder_by_document_with_a_bpe(tmp_path, text, capsys):
    (tmp_path / "texts").mkdir()
    for i in range(8):
        (tmp_path / "texts" / f"{i}.txt").write_text(text[3000 * i : 3000 * (i + 1)])
    (tmp_path / "texts" / "picture.png").write_bytes(b"\x89PNG\0")
    out = tmp_path / "run"
    flags = ["--split", "document", "--tokenizer", "bpe", "--vocab-size", "300", "--max-seq-len", "16", "--eval-windows", "0"]
    flags += ["--out", str(out)]
    assert main(["train", "--no-plots", "--data", str(tmp_path / "texts"), *flags, *SMALL]) == 0
    output = capsys.readouterr()
    assert "left out files that are not UTF-8 text:" in output.err
    assert "picture.png" in output.err
    assert "tiny on texts (24,000 characters, 300 tokens)" in output.out
    about = json.loads((out / "config.json").read_text())
    assert about["model"]["vocab_size"] == 300
    assert about["corpus"]["characters"] == 24_000
    assert main(["eval", "--run", str(out), "--json"]) == 0
    last = read_metrics(out / "metrics.jsonl")[-1]
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(last["val_loss"], rel=1e-6)
