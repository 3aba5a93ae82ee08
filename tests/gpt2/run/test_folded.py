"""A run is judged row by row, in bounded memory; the verdicts are those that all rows together give."""

import math
import random
import re
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from small_runs import run_once

from gpt2 import GPT2Config, TrainConfig
from gpt2.run.health import Monitor, Summary, examine, judge
from gpt2.run.health.summary import SLOPE, UPDATE_SCALE, Deviation
from gpt2.run.metrics import as_line, history, read_metrics
from gpt2.training.shards import Shards

pytestmark = pytest.mark.slow

SETTINGS = GPT2Config(vocab_size=65, d_model=16, num_heads=2), TrainConfig(steps=1000)
MATRICES = ["wte.weight", "h.0.mlp.c_fc.weight", "h.1.mlp.c_fc.weight"]


def random_row(rng, step, evaluates, odd):
    """As a training writes it; `odd` is the probability that a number is not finite, or far off."""

    def number(value):
        return rng.choice([math.nan, math.inf, -math.inf, 0.0, 1e6 * value]) if rng.random() < odd else value

    row = {"step": step}
    if step:
        row |= {"train_loss": number(4 * math.exp(-step / 60) + rng.gauss(1.5, 0.1)), "learning_rate": rng.uniform(0, 1e-2)}
        row |= {"grad_norm": number(rng.uniform(0.5, 1)), "tokens_per_s": 1000.0}
    if not evaluates:
        return row
    if step:
        row["grad_norms"] = {part: number(rng.uniform(0.5, 1)) for part in ("wte", "h.0", "h.1")}
        row["update_ratios"] = {name: number(rng.gauss(-3, 1.5)) for name in MATRICES}
    row |= {"val_loss": number(2.7 * math.exp(-step / 60) + rng.gauss(1.5, 0.1)), "val_tokens": 10_000}
    if rng.random() < 0.9:
        row["baselines"] = {"unigram": 3.0, "bigram": rng.choice([2.4, 1.7, 2.95]), **({"perfect": 1.2} if step % 7 else {})}
    if rng.random() < 0.9:
        row["diagnostics"] = {
            "blocks": {
                name: {
                    "in_std": number(0.5), "out_std": 0.7, "dead": number(0.0), "off": 0.1,
                    "entropy": {"0": 0.7, "1": number(0.8)}, "sink": {"0": number(0.1), "1": 0.2},
                    "attention_error": number(1e-7),
                }
                for name in ("h.0", "h.1")
            },
            "future": number(0.0), "offsets": {"0": number(4.0), "1": 1.5, "2": 4.0} if rng.random() < 0.8 else {},
            "slope": number(rng.gauss(1, 0.06)), "slope_doubt": number(0.001),
        }  # fmt: skip
        if rng.random() < 0.8:
            row["diagnostics"]["update_scale"] = number(rng.gauss(1, 0.015))
    return row


def random_log(seed):
    """Rows of a training with evaluations, batches that are skipped, and rollbacks from which it came back."""
    rng = random.Random(seed)
    every, odd = rng.choice([1, 3, 10]), rng.choice([0.0, 0.0, 0.02, 0.2])
    skips, returns = rng.choice([0.0, 0.1]), rng.choice([0.0, 0.03])
    rows, step, longest = [], rng.choice([0, 0, 1, 5]), rng.choice([1, 15, 40, 400])
    while step <= longest or step <= max((row["step"] for row in rows), default=0):
        if rng.random() < skips:
            rows.append({"step": step, "train_loss": 99.0, "learning_rate": 1e-3, "skipped": f"reason {rng.random()}"})
        else:
            rows.append(random_row(rng, step, step % every == 0, odd))
            step += 1
        if rng.random() < returns:
            step = rng.randrange(max(0, step - 20), step + 1)
    return rows


class Whole(Summary):
    """What `Summary` is after all rows, each part computed from all of them at once; what follows from the parts is its own."""

    def __init__(self, model, training, rows):
        own = [row for _, row in sorted({row["step"]: row for row in rows if "skipped" not in row}.items())]
        updates = [row for row in own if "train_loss" in row]
        measured = [row for row in own if row.get("update_ratios")]
        evaluations = [
            SimpleNamespace(step=row["step"], loss=row["val_loss"], tokens=row["val_tokens"], row=row)
            for row in own
            if "val_loss" in row
        ]
        later = [found for found in evaluations if found.step > 0 and math.isfinite(found.loss)]
        skipped = [(row["step"], row["skipped"]) for row in rows if "skipped" in row]
        diagnosed = [(row["step"], row["diagnostics"]) for row in own if "diagnostics" in row]
        self.model, self.training, self.uniform = model, training, math.log(model.vocab_size)
        self.step, self.stopped = own[-1]["step"] if own else None, ""
        self.skips, self.last_skip = len(skipped), skipped[-1] if skipped else None
        self.at_start = next((found.loss for found in evaluations if found.step == 0), None)
        self.evaluation = evaluations[-1] if evaluations else None
        self.best = min(evaluations, key=lambda found: found.loss) if evaluations else None
        self.best_later = min(later, key=lambda found: found.loss) if later else None
        self.later, self.lows = later[-2:], SimpleNamespace(values=lambda: evaluations)
        self.baselines = {}
        for found in evaluations:
            self.baselines |= found.row.get("baselines", {})
        self.measured = measured[-1] if measured else None
        self.grad_norm = updates[-1].get("grad_norm", 0.0) if updates else 0.0
        self.ratios = [(row["learning_rate"], np.median(list(row["update_ratios"].values()))) for row in measured]
        self.future = max((found["future"] for _, found in diagnosed), default=None)
        self.offsets = [(step, found["offsets"]) for step, found in diagnosed if found["offsets"]][-2:]
        self.first_in_std = diagnosed[0][1]["blocks"]["h.0"]["in_std"] if diagnosed else None
        self.blocks = diagnosed[-1][1]["blocks"] if diagnosed else {}
        self.slope = self.deviation(diagnosed, "slope", lambda found: SLOPE + 3 * found["slope_doubt"])
        self.update_scale = self.deviation(diagnosed, "update_scale", lambda _: UPDATE_SCALE)
        self.steps = np.array([row["step"] for row in updates])
        self.all_losses = np.array([row["train_loss"] for row in updates], float)
        self.losses = SimpleNamespace(width=1, table=lambda: np.stack([self.steps, self.all_losses], axis=1))
        self.peak = max(((row["step"], row["learning_rate"]) for row in updates), key=lambda pair: pair[1], default=(0, 0.0))
        evaluated = self.evaluation.step if evaluations else 0
        self.rates_evaluated = sum(row["learning_rate"] for row in updates if row["step"] <= evaluated)

    @staticmethod
    def deviation(diagnosed, name, margin):
        known = [(step, f[name], margin(f)) for step, f in diagnosed if name in f and math.isfinite(margin(f))]
        off = [(step, value) for step, value, limit in known if not abs(value - 1) <= limit]
        found = Deviation()
        found.known, found.off = len(known), len(off)
        found.last, found.last_off = (pairs[-1][1] if pairs else math.nan for pairs in (known, off))
        return found

    def train_losses(self):
        return self.steps, self.all_losses, max(10, len(self.steps) // 20)

    def train_loss(self, step):
        before = self.all_losses[self.steps <= step]
        return float(before[-max(10, len(self.steps) // 20) :].mean()) if len(before) else math.nan

    def at_full_rate(self):
        return [pair for pair in self.ratios if pair[0] >= self.peak[1] / 2]


def judged_whole(rows):
    with np.errstate(all="ignore"):
        return judge(Whole(*SETTINGS, rows))


def written(folder, rows):
    path = folder / "metrics.jsonl"
    path.write_text("".join(map(as_line, rows)))
    return path


@pytest.mark.parametrize("seed", range(60))
def test_row_by_row_gives_the_verdicts_of_all_rows_word_for_word(tmp_path, seed):
    path = written(tmp_path, random_log(seed))
    assert examine(*SETTINGS, history(path, skipped=True)) == judged_whole(read_metrics(path))


def long_run(steps, every=100):
    """Nothing is wrong with it; each row when it is asked for."""
    rng = random.Random(0)
    for step in range(steps + 1):
        yield random_row(rng, step, step % every == 0, 0.0)


def test_means_of_bins_give_the_same_verdicts_but_for_the_digits(tmp_path):
    """Of 40,000 updates, which are more than there are bins; then with 3,000 of them above the others."""
    path = written(tmp_path, long_run(40_000))
    rows = read_metrics(path)
    assert [(v.name, v.level) for v in examine(*SETTINGS, rows)] == [(v.name, v.level) for v in judged_whole(rows)]
    for row in rows[20_000:23_000]:
        row["train_loss"] += 1
    seen = Summary(*SETTINGS, rows)
    assert seen.losses.width > 1
    (found,), (whole,) = ([v for v in verdicts if v.name == "training loss"] for verdicts in (judge(seen), judged_whole(rows)))
    assert found.level == whole.level == "error"
    numbers = [[float(n) for n in re.findall(r"[0-9]+[.0-9]*", verdict.seen)] for verdict in (found, whole)]
    assert numbers[0] == pytest.approx(numbers[1], rel=5e-3)


def test_a_baseline_is_crossed_where_it_was_however_many_evaluations_follow():
    losses = [4.0, 3.5, 2.9, 2.5, *(3.0 + 0.001 * (step % 7) for step in range(20_000))]
    rows = [{"step": step, "val_loss": loss, "baselines": {"unigram": 3.0}} for step, loss in enumerate(losses)]
    (found,) = (verdict for verdict in examine(*SETTINGS, rows) if verdict.name == "unigram")
    assert found.seen.endswith("occurs, since step 2")


def test_a_batch_that_was_skipped_is_no_step():
    seen = Summary(*SETTINGS, [{"step": 1, "train_loss": 4.0}, {"step": 2, "train_loss": 4.0, "skipped": "spike"}])
    assert seen.step == 1


# -- while it trains


def watched(path, rows, watch):
    """Write rows one by one, as a training does, and let a watch see them; gives each row after that."""
    with open(path, "a") as file:
        for row in rows:
            file.write(as_line(row))
            file.flush()
            watch.add(row)
            yield row


@pytest.mark.parametrize("seed", range(8))
def test_a_watch_sees_at_each_evaluation_what_the_log_says(tmp_path, seed):
    """Also after a rollback, while later rows are still in the log that do not count any more; and after a resume."""
    path = tmp_path / "metrics.jsonl"
    rows = random_log(seed)
    for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
        watch = Monitor(path, *SETTINGS, lambda _: None)
        for row in watched(path, part, watch):
            if "val_loss" in row:
                assert judge(watch.summary) == examine(*SETTINGS, history(path, skipped=True))


def test_what_a_rollback_took_back_is_judged_no_more(tmp_path):
    rows = [random_row(random.Random(0), step, step % 10 == 0, 0.0) for step in range(31)]
    bad = {**rows[20], "diagnostics": {**rows[20]["diagnostics"], "future": 1.0}}
    said = []
    watch = Monitor(tmp_path / "metrics.jsonl", *SETTINGS, said.append)
    assert len(list(watched(watch.metrics, [*rows[:20], bad, *rows[15:]], watch))) == 37
    assert [line.split(":")[1] for line in said if "causal mask" in line] == [" causal mask"]  # it was said
    assert [verdict.level for verdict in judge(watch.summary) if verdict.name == "causal mask"] == ["ok"]


def test_what_is_skipped_is_said_while_it_trains(tmp_path, text, monkeypatch):
    def poisoned(self, model, batch, seed, step, smoothing=0.0, right=Shards.loss_and_gradients):
        loss, grads = right(self, model, batch, seed, step, smoothing)
        return (math.nan if step == 5 else loss), grads

    monkeypatch.setattr(Shards, "loss_and_gradients", poisoned)
    said = []
    run_once(tmp_path / "a", text, say=said.append, on_nonfinite="skip")
    (line,) = (line for line in said if line.startswith("warning: skipped batches"))
    assert " batches were skipped, the last at step 6: loss is nan" in line


def test_memory_does_not_grow_with_the_steps():
    """All the rows would have 60 million bytes."""
    seen, sizes = Summary(*SETTINGS), []
    tracemalloc.start()
    try:
        for row in long_run(120_000):
            seen.add(row)
            if row["step"] % 10_000 == 0:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes) < 1e6


def test_a_damaged_log_ends_no_training(tmp_path):
    said = []
    watch = Monitor(tmp_path / "metrics.jsonl", *SETTINGS, said.append)
    watch.metrics.write_text("no row\n")
    rows = list(long_run(30, every=5))
    rows[20]["diagnostics"]["future"] = 1.0
    assert len(list(watched(watch.metrics, [*rows[:10], *rows[5:]], watch))) == 36
    warned = [line for line in said if "judged" in line]
    assert len(warned) == 1
    assert warned[0].startswith(f"warning: the steps before are not judged: {watch.metrics}, line 1 is damaged: ")
    assert any(line.startswith("error: causal mask") for line in said)
