"""The whole course, done by its solutions; and its last milestone beside `gpt2 train`.

python tests/gpt2/test_whole_course.py      # what each exercise is, and how long all checks take
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from solved import EVERY, folder_of, modules

from gpt2 import GPT2, GPT2Config
from gpt2.cli import main
from gpt2.course.checks.e23_training import TEXT
from gpt2.run.folder import Run
from gpt2.run.metrics import history
from gpt2.text import batches
from gpt2.tokenizers import CharTokenizer
from tinygrad2.study.course.judging import import_from

pytestmark = pytest.mark.slow

SHAPE = {"max_seq_len": 12, "num_layers": 2, "num_heads": 2, "d_model": 16, "dropout": 0.0}
SETTINGS = {"learning_rate": 1e-2, "warmup": 5, "final": 1e-3, "beta1": 0.9, "beta2": 0.99, "decay": 0.1, "grad_clip": 1.0}
FLAGS = {
    "--learning-rate": 1e-2,
    "--warmup-steps": 5,
    "--min-learning-rate": 1e-3,
    "--beta2": 0.99,
    "--weight-decay": 0.1,
    "--grad-clip": 1.0,
    "--schedule": "cosine",
    "--optimizer": "adamw",
    "--batch-size": 6,
    "--steps": 40,
    "--seed": 3,
    "--val-fraction": 0.1,
}


def test_the_solutions_are_right(tmp_path, capsys):
    """Every check as a learner has it, in a process of its own."""
    assert main(["learn", "solutions", str(tmp_path / "answers")]) == 0
    assert main(["learn", "check", "--folder", str(tmp_path / "answers")]) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert out.count(": right (") == len(EVERY)


def test_the_last_milestone_is_what_gpt2_train_trains(tmp_path, capsys):
    """The same text, seed and settings: its losses are those of float32, as far as float32 goes."""
    text = 6 * TEXT
    (tmp_path / "text.txt").write_text(text)
    words = [str(word) for flag in FLAGS.items() for word in flag]
    shape = [str(word) for name, value in SHAPE.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert main(["train", str(tmp_path / "text.txt"), "--out", str(tmp_path / "run"), *words, *shape]) == 0
    losses = [row["train_loss"] for row in history(Run.open(tmp_path / "run").metrics) if "train_loss" in row]
    tokenizer = CharTokenizer.train(text)
    ids, _ = batches.split(np.array(tokenizer.encode(text)), 0.1, 12)
    model = GPT2(GPT2Config(vocab_size=tokenizer.vocab_size, **SHAPE), 3)
    weights = {name: p.data.astype(np.float64) for name, p in model.named_parameters()}
    drawn = [batches.batch(ids, 6, 12, 3, t) for t in range(40)]
    with modules():
        import_from(folder_of(tmp_path / "solutions"))
        import e23_training

        found, _ = e23_training.train(weights, drawn, 2, SETTINGS)
    assert len(losses) == 40
    np.testing.assert_allclose(found, losses, rtol=2e-4)
    assert losses[-1] < 0.75 * losses[0]


if __name__ == "__main__":
    for one in EVERY.values():
        print(f"{one.number:02} week {one.week} {one.minutes:4} min {len(one.mistakes):3} mistakes  {one.title.en}")
    print(f"{sum(len(one.mistakes) for one in EVERY.values())} known mistakes")
    with tempfile.TemporaryDirectory() as made:
        begin = time.perf_counter()
        main(["learn", "solutions", str(Path(made) / "answers")])
        code = main(["learn", "check", "--folder", str(Path(made) / "answers")])
        print(f"{time.perf_counter() - begin:.0f} s")
    sys.exit(code)
