"""A training is killed at any moment, again and again, and ends as if nothing had happened.

STRESS=1 pytest tests/gpt2/training/test_kills.py kills 300 times: 200 at random moments, 20 at each phase of saving.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpt2.run.checkpoints import Checkpoints
from gpt2.run.metrics import history

pytestmark = pytest.mark.slow

STRESS = bool(os.environ.get("STRESS"))
RANDOM = 200 if STRESS else 3
EACH = range(1, 21) if STRESS else (5,)
DYING = str(Path(__file__).parents[1] / "dying.py")
STEPS = 60 if STRESS else 40  # 20 checkpoints that are not needed any more


def flags(folder, out):
    small = (
        f"--d-model=16 --num-layers=1 --num-heads=2 --max-seq-len=16 --sample-tokens=5 --steps={STEPS} --threads=1 --shards=2"
    )
    often = "--save-every=2 --eval-every=10 --keep-every=8 --ema-decay=0.9 --dropout=0.1"
    return [
        "train",
        "--no-plots",
        "--resume",
        "--data",
        str(folder / "my.txt"),
        "--out",
        str(folder / out),
        *small.split(),
        *often.split(),
    ]


def start(folder, out, kind="none", number=0):
    command = [sys.executable, DYING, kind, str(number), *flags(folder, out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def ended(process, within=None):
    """The exit code, and what it said; it is killed if it takes longer than `within` seconds."""
    try:
        _, said = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
    return process.returncode, said


def state(run):
    """The last whole checkpoint, which must be undamaged, and the temporary files."""
    found = Checkpoints(run / "checkpoints").latest(pytest.fail)
    return found.step if found else -1, set(run.rglob("*.tmp"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("kills")
    (folder / "my.txt").write_text(text[:5000])
    began = time.perf_counter()
    assert ended(start(folder, "whole"))[0] == 0
    return folder, time.perf_counter() - began


def check_end(folder, out):
    """Start it for the last time, and compare with the undisturbed run."""
    code, said = ended(start(folder, out))
    assert code == 0, said
    for name in ("model.safetensors", "samples.txt"):
        assert (folder / out / name).read_bytes() == (folder / "whole" / name).read_bytes()
    rows = [list(history(folder / run / "metrics.jsonl")) for run in (out, "whole")]
    for a, b in zip(*rows, strict=True):
        assert a | {"tokens_per_s": 0} == b | {"tokens_per_s": 0}
    assert not state(folder / out)[1]


def test_killed_at_random_moments(whole):
    """Some starts are killed before they save; those that reach the end begin a new run, so that kills are spread evenly."""
    folder, seconds = whole
    rng = random.Random(0)
    kills = runs = 0
    while kills < RANDOM:
        runs += 1
        out, last, leftovers = f"random-{runs}", -1, set()
        while True:
            code, said = ended(start(folder, out), rng.uniform(0.3, 1.1) * seconds)
            if code == 0:
                break
            assert code == -signal.SIGKILL, said
            kills += 1
            step, now = state(folder / out)
            assert step >= last
            if step > last:  # it came far enough to clear up what was left before
                assert not leftovers & now
            last, leftovers = step, now
        check_end(folder, out)
    print(f"\n{kills} kills in {runs} runs")


@pytest.mark.parametrize("kind", ["write", "fsync", "rename", "renamed", "unlink"])
def test_killed_at_each_phase_of_saving(whole, kind):
    folder, _ = whole
    for number in EACH:
        out = f"{kind}-{number}"
        code, said = ended(start(folder, out, kind, number))
        assert code == -signal.SIGKILL, said
        state(folder / out)
        check_end(folder, out)


def test_fresh_processes_with_one_seed_make_one_file(whole):
    folder, _ = whole
    names = [f"fresh-{i}" for i in range(19 if STRESS else 2)]
    for name in names:
        assert ended(start(folder, name))[0] == 0
    files = {(folder / name / "model.safetensors").read_bytes() for name in ("whole", *names)}
    assert len(files) == 1
