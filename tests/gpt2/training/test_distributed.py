"""One training on several ranks: the same numbers, and no rank is ever waited for without end.

STRESS=1 kills a random rank at 20 random moments.
"""

import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from rank_jobs import MPIEXEC, OFTEN, RANK, SMALL, WITHIN, assert_close, losses, require_mpiexec, same
from small_runs import run_once

from gpt2.errors import ConfigError
from gpt2.run.folder import REASON, Run
from gpt2.run.metrics import read_metrics
from gpt2.training.mpi import comm
from gpt2.training.mpi.reduction import AllReduce


class Job:
    """`gpt2 train` on so many ranks."""

    def __init__(self, folder, out, count, *flags, plant="", verb="train"):
        self.folder, self.run, self.pids = folder, folder / out, folder / f"{out}.pids"
        self.pids.mkdir(exist_ok=True)
        given = [*SMALL.split(), *(OFTEN.split() if verb == "train" else ())]
        where = ["--no-plots", "--data", str(folder / "my.txt"), "--out", str(self.run)] if verb == "train" else []
        start = [MPIEXEC, "-n", str(count)] if count > 1 else []
        self.process = subprocess.Popen(
            [*start, sys.executable, RANK, verb, *where, *given, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PIDS": str(self.pids), "PLANT": plant, "OPENBLAS_NUM_THREADS": "1"},
        )

    def ended(self):
        """The exit code, and what was said on both streams."""
        try:
            out, err = self.process.communicate(timeout=WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"the job has not ended within {WITHIN} s")
        return self.process.returncode, out, err

    def rows(self):
        """How many steps are written down."""
        path = self.run / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def until(self, rows):
        """Wait for so many of them."""
        end = time.monotonic() + WITHIN
        while self.rows() < rows and self.process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)

    def send(self, rank, number):
        os.kill(int((self.pids / str(rank)).read_text()), number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, text):
    require_mpiexec()
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "my.txt").write_text(text[:5000])
    for out, flags in (("one", ()), ("ordered", ("--reduction=ordered",))):
        assert Job(folder, out, 1, *flags).ended()[0] == 0
    return folder


@pytest.mark.mpi
@pytest.mark.parametrize(("count", "zero"), [(2, "false"), (4, "false"), (4, "true"), (3, "false")])
def test_in_order_the_bits_do_not_depend_on_the_ranks(folder, count, zero):
    out = f"ordered-{count}-{zero}"
    code, said, _ = Job(folder, out, count, "--reduction=ordered", f"--zero={zero}").ended()
    assert code == 0
    assert said.count("run folder:") == 1  # rank 0 alone speaks
    assert same(folder / out, folder / "ordered")
    assert same(folder / out, folder / "one")


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("count", "flags"),
    [(2, ()), (4, ()), (2, ("--zero=true",)), (4, ("--zero=true",)), (2, ("--shards=2", "--zero=true"))],
)
def test_a_fast_sum_differs_by_rounding_only(folder, count, flags):
    out = f"fast-{count}-{len(flags)}"
    assert Job(folder, out, count, "--dropout=0", *flags).ended()[0] == 0
    one = folder / "no-dropout"
    if not one.exists():
        assert Job(folder, one.name, 1, "--dropout=0").ended()[0] == 0
    assert_close(folder / out, one)


@pytest.mark.mpi
def test_ranks_choose_the_same_for_their_minutes(folder):
    """Each looks at its own clock; what is chosen for the time is the same all the same, or they would refuse to begin."""
    sizes = "--d-model=16 --num-heads=2 --max-seq-len=16 --threads=1 --shards=4 --sample-tokens=5 --no-plots"
    command = f"-m gpt2 train my.txt --minutes=0.05 --out=minutes {sizes}".split()
    job = [MPIEXEC, "-n", "2", sys.executable, *command]
    done = subprocess.run(job, cwd=folder, capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("chosen for 0.05 minutes") == 1
    assert (folder / "minutes" / "model.safetensors").exists()


@pytest.mark.mpi
def test_bfloat16_on_the_wire_rounds(folder):
    assert Job(folder, "wire", 2, "--wire=bfloat16").ended()[0] == 0
    differences = np.abs(np.subtract(losses(folder / "wire"), losses(folder / "one")))
    assert 0 < differences.max() < 2e-3


@pytest.mark.mpi
def test_killed_ranks_and_other_numbers_of_them_leave_no_trace(folder):
    """Begun by one process, killed, gone on with four, killed, ended by two: as if nothing had happened."""
    moments = 20 if os.environ.get("STRESS") else 4
    rng = random.Random(0)
    out = folder / "killed"
    for _ in range(moments):
        count = rng.choice((1, 2, 4))
        job = Job(folder, out.name, count, "--resume", "--reduction=ordered", f"--zero={rng.choice(('true', 'false'))}")
        job.until(job.rows() + rng.randint(1, 12))
        time.sleep(rng.uniform(0, 0.05))
        if job.process.poll() is None:
            job.send(rng.randrange(count), signal.SIGKILL)
        code, _, said = job.ended()
        assert "error" not in said.replace("exit code", ""), said
        if code == 0:
            shutil.rmtree(out)
    code, _, said = Job(folder, out.name, 2, "--resume", "--reduction=ordered").ended()
    assert code == 0, said
    assert same(out, folder / "ordered")
    assert not list(out.rglob("*.tmp"))


@pytest.mark.mpi
@pytest.mark.parametrize("rank", [0, 2])
def test_a_rank_that_hangs_is_named(folder, rank):
    job = Job(folder, f"hangs-{rank}", 4, "--rank-timeout=3", "--steps=100000", "--eval-every=100000", "--save-every=100000")
    job.until(5)
    job.send(rank, signal.SIGSTOP)
    code, _, said = job.ended()
    assert code == 2
    assert f"rank {rank} " in said
    assert "raise --rank-timeout" in said
    assert said.count("error:") == 1


FAILS = """
if rank == 2:
    from gpt2.training.step import Trainer
    from gpt2.errors import DataError
    real = Trainer.batch
    def batch(self):
        if self.steps == 7:
            raise {error}
        return real(self)
    Trainer.batch = batch
"""


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("error", "code", "says"), [("DataError('planted')", 2, "rank 2: planted"), ("1 / 0", 1, "ZeroDivisionError")]
)
def test_a_rank_that_fails_says_why_and_the_others_nothing(folder, error, code, says):
    out = f"fails-{code}"
    job = Job(folder, out, 4, "--reduction=ordered", plant=FAILS.format(error=error))
    found, _, said = job.ended()
    assert found == code
    assert says in said
    assert said.count("rror:") == 1
    left = folder / f"{out}.gave-up-2.txt"
    assert says in left.read_text()
    code, said, _ = Job(folder, out, 2, "--resume", "--reduction=ordered").ended()
    assert code == 0
    assert f"the job before gave up, says {left}: rank 2: " in said
    assert not left.exists()
    assert same(folder / out, folder / "ordered")


@pytest.mark.mpi
def test_what_all_refuse_is_said_once(folder):
    code, _, said = Job(folder, "refused", 4, "--dropout=3").ended()
    assert code == 2
    assert said.count("error:") == 1
    assert "rank 0: dropout = 3.0 must be in [0, 1)" in said
    code, _, said = Job(folder, "refused", 4, "--shards=2").ended()
    assert code == 2
    assert "too small for 4 ranks" in said
    assert not (folder / "refused").exists()


PLANTED = {
    "learning_rate is 0.5 on rank 1": "if rank == 1: sys.argv.append('--learning-rate=0.5')",
    "the text's sha256 is": "if rank == 1: sys.argv[sys.argv.index('--data') + 1] += '2'",
    "the code's sha256 is 0 on rank 1": "import gpt2.files\nif rank == 1: gpt2.files.code_sha256 = lambda: '0'",
}


@pytest.mark.mpi
@pytest.mark.parametrize("says", PLANTED)
def test_ranks_that_disagree_are_refused_at_the_start(folder, says):
    (folder / "my.txt2").write_text((folder / "my.txt").read_text() + "!")
    code, _, said = Job(folder, "disagree", 3, plant=PLANTED[says]).ended()
    assert code == 2
    assert says in said
    assert said.count("error:") == 1
    assert not (folder / "disagree").exists()


NAN = """
if rank == 1:
    from gpt2.training.shards import Shards
    real = Shards.worker
    calls = []
    def nan(self, *args):
        calls.append(0)
        work, number = real(self, *args), len(calls)
        def worker(i):
            loss, grads = work(i)
            if number == 9:
                grads[0][0, 0] = float("nan")
            return loss, grads
        return worker
    Shards.worker = nan
"""


@pytest.mark.mpi
@pytest.mark.parametrize("reduction", ["fast", "ordered"])
@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_a_nan_on_one_rank_is_seen_by_all_in_the_same_step(folder, policy, reduction):
    out = f"nan-{policy}-{reduction}"
    flags = f"--on-nonfinite={policy}", f"--reduction={reduction}", "--eval-every=100"
    code, said, _ = Job(folder, out, 2, *flags, plant=NAN).ended()
    assert code == 0
    assert "skipped: gradient norm is nan" in said
    rows = read_metrics(folder / out / "metrics.jsonl")
    assert sum("skipped" in row for row in rows) == 1
    assert rows[-1]["step"] == 50
    assert np.isfinite(rows[-1]["val_loss"])


INFINITE = """
if rank == 1:
    from gpt2.training.step import Trainer
    real = Trainer.batch
    def batch(self):
        if self.steps == 7:
            self.model.ln_f.weight.data[3] = float("inf")
        return real(self)
    Trainer.batch = batch
"""


@pytest.mark.mpi
@pytest.mark.parametrize("reduction", ["fast", "ordered"])
def test_where_a_number_of_another_rank_stopped_being_finite_is_said_once(folder, reduction):
    code, _, said = Job(folder, f"inf-{reduction}", 2, f"--reduction={reduction}", plant=INFINITE).ended()
    assert code == 2
    assert "step 8: loss is nan; the forward of " in said
    assert said.count("error:") == 1


SIGNAL = """
if rank == 1:
    import signal
    from gpt2.training.mpi.comm import MpiComm
    barrier = MpiComm.barrier
    def signalled(self, what, note=0):
        answer = barrier(self, what, note)
        if what == "step 9":  # when what this rank had to say is already with the others
            os.kill(os.getpid(), signal.SIGTERM)
        return answer
    MpiComm.barrier = signalled
"""


@pytest.mark.mpi
def test_a_signal_to_one_rank_ends_all_after_the_same_step(folder):
    code, said, _ = Job(folder, "signal", 3, "--reduction=ordered", plant=SIGNAL).ended()
    assert code == 128 + signal.SIGTERM
    assert "interrupted after" in said
    assert Job(folder, "signal", 1, "--resume", "--reduction=ordered").ended()[0] == 0
    assert same(folder / "signal", folder / "ordered")


IN_AN_EVALUATION = """
import signal
from gpt2.training import measurements
real = measurements._future
def signalled(*about):
    if rank == {rank}:
        os.kill(os.getpid(), signal.SIGTERM)
    return real(*about)
measurements._future = signalled
"""


@pytest.mark.mpi
@pytest.mark.parametrize("rank", [0, 2])
def test_a_signal_to_one_rank_in_an_evaluation_ends_all_of_them_there(folder, rank):
    out = f"evaluating-{rank}"
    code, said, err = Job(folder, out, 3, "--reduction=ordered", plant=IN_AN_EVALUATION.format(rank=rank)).ended()
    assert code == 128 + signal.SIGTERM, err
    assert "interrupted after 0 of 50 steps" in said
    assert "--- step 0" not in said
    assert err.count("press Ctrl-C again") == (rank == 0)  # who speaks is rank 0
    assert Job(folder, out, 1, "--resume", "--reduction=ordered").ended()[0] == 0
    assert same(folder / out, folder / "ordered")


@pytest.mark.mpi
def test_off_is_one_process_each(folder):
    code, said, _ = Job(folder, "off", 1, "--distributed=off").ended()
    assert code == 0
    assert "run folder" in said
    assert json.loads((folder / "off" / "config.json").read_text())["machine"]["ranks"] == 1


@pytest.mark.mpi
def test_bench_says_how_much_is_communication(folder):
    code, said, _ = Job(folder, "bench", 2, "--json", "--steps=5", verb="bench").ended()
    assert code == 0
    found = json.loads(said)
    assert found["ranks"] == 2
    assert 0 < found["communication"] < 1


# -- without MPI


def test_only_what_a_rank_has_left_is_read_and_removed(tmp_path, text):
    run, other = tmp_path / "[run]", tmp_path / "run"
    run_once(run, text, steps=2)
    left = [run / "gave-up.txt", tmp_path / "[run].gave-up-3.txt"]
    for path in left:
        path.write_text(f"{REASON}rank 3: it was\nso\n")
    mine = [tmp_path / "[run].gave-up-4.txt", tmp_path / "run.gave-up-1.txt"]
    for path in mine:
        path.write_text("of somebody else")
    (tmp_path / "[run].gave-up-5.txt").symlink_to(left[1])
    assert Run(run).gave_up() == dict.fromkeys(left, "rank 3: it was so")
    assert Run(other).gave_up() == {}
    run_once(run, text, steps=4, resume=True)
    assert not any(path.exists() for path in left)
    assert all(path.read_text() == "of somebody else" for path in mine)


def test_a_sum_over_ranks_is_gone_with_its_step():
    """Without the help of the garbage collector: it holds all gradients, and their copies."""

    class Alone(comm.Comm):
        def start_all_reduce(self, array, rounded=False):
            return SimpleNamespace(Test=lambda: True)

        def wait(self, requests, what):
            pass

    gc.disable()
    try:
        total = AllReduce(Alone(), overlap=True, rounded=False)
        grads = [np.ones(3, np.float32), np.full((2, 2), 2.0, np.float32)]
        assert total([(1.5, grads)]) == (1.5, grads)
        total.ready(np.ones(1))
        gone = weakref.ref(total)
        del total
        assert gone() is None
    finally:
        gc.enable()


def test_without_mpiexec_mpi_is_not_loaded(monkeypatch):
    for name in comm.STARTED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert comm.join("auto", 1.0).size == 1
    assert comm.current().is_main


def test_mpiexec_without_mpi4py_is_refused(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ConfigError, match=r"pip install 'tinygrad2\[mpi\]', or --distributed off"):
        comm.join("auto", 1.0)
    assert comm.join("off", 1.0).size == 1
