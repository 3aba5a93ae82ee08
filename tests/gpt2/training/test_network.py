"""One training on two hosts: network namespaces with a cable between them that can be cut. `make mpi`, as root of a Linux.

Nothing outside of the two namespaces is touched, and they are gone at the end, with all that ran in them.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from rank_jobs import MPIEXEC, OFTEN, RANK, SMALL, WITHIN, assert_close, require_mpiexec, same

TIMEOUT = 4
"""Of the ranks, in seconds."""

FLAGS = [*SMALL.split(), *OFTEN.split(), "--dropout=0", f"--rank-timeout={TIMEOUT}"]
SLOWLY = """
import time
from gpt2.training.step import Trainer
batch = Trainer.batch
def slow(self):
    time.sleep(0.04)
    return batch(self)
Trainer.batch = slow
"""
ENVIRONMENT = {
    "MPIR_CVAR_NOLOCAL": "1",  # MPICH would see one machine, and use its memory
    "UCX_TLS": "tcp,self",  # and so would its transport
    "OPENBLAS_NUM_THREADS": "1",
}

pytestmark = pytest.mark.mpi


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=WITHIN).stdout


class Network:
    """Two hosts, 10.77.0.1 and 10.77.0.2, and a cable."""

    def __init__(self):
        self.names = [f"gpt2-{os.getpid()}-{end}" for end in "ab"]
        self.addresses = ["10.77.0.1", "10.77.0.2"]

    def lay(self):
        a, b = self.names
        for name in self.names:
            ip("netns", "add", name)
        ip("link", "add", "cable", "netns", a, "type", "veth", "peer", "name", "cable", "netns", b)
        for name, address in zip(self.names, self.addresses, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "cable", "up")

    def cut(self):
        ip("-n", self.names[0], "link", "set", "cable", "down")

    def mend(self):
        ip("-n", self.names[0], "link", "set", "cable", "up")
        for name in self.names:  # or a host that was tried in vain would count as not there for a while
            ip("-n", name, "neigh", "flush", "dev", "cable")

    def crossed(self):
        """How many bytes have come and gone."""
        (link,) = json.loads(ip("-s", "-j", "-n", self.names[0], "link", "show", "cable"))
        return link["stats64"]["rx"]["bytes"] + link["stats64"]["tx"]["bytes"]

    def on(self, host):
        """How a command line begins that runs there."""
        return ["ip", "netns", "exec", self.names[host]]

    def processes(self):
        """All that run on both hosts, but for the dead whose parent has not looked yet."""
        pids = [int(pid) for name in self.names for pid in ip("netns", "pids", name).split()]
        return [pid for pid in pids if _lives(pid)]

    def remove(self):
        """In any case; whatever of it there is."""
        for name in self.names:
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
            for pid in pids:
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def _lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def network():
    require_mpiexec()
    if shutil.which("ip") is None:
        pytest.skip("there is no ip: apt-get install iproute2")
    network = Network()
    try:
        try:
            network.lay()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces may not be made here: {error.stderr.strip()}")
        yield network
    finally:
        network.remove()


@pytest.fixture
def link(network):
    """The network, with its cable whole, and nothing running."""
    network.mend()
    yield network
    for pid in network.processes():
        os.kill(pid, signal.SIGKILL)
    network.mend()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, text):
    """A text, and what one process makes of it."""
    require_mpiexec()
    folder = tmp_path_factory.mktemp("network")
    (folder / "my.txt").write_text(text[:5000])
    done = alone(folder, "one")
    assert done.returncode == 0, done.stderr
    return folder


def command(folder, out, *flags):
    return [sys.executable, RANK, "train", "--data", str(folder / "my.txt"), "--out", str(folder / out), *FLAGS, *flags]


def alone(folder, out, *flags):
    return subprocess.run(
        command(folder, out, *flags),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        env=os.environ | {"PIDS": str(folder), "PLANT": ""} | ENVIRONMENT,
    )


class Job:
    """A training by a rank on each host. Nobody can log in there, so mpiexec says what is to be started, and we start it."""

    def __init__(self, network, folder, out, *flags, plant=""):
        self.network, self.run, self.said = network, folder / out, []
        options = {"stderr": subprocess.STDOUT, "text": True}
        options["env"] = os.environ | {"PIDS": str(folder), "PLANT": plant} | ENVIRONMENT
        hosts = ["-launcher", "manual", "-localhost", network.addresses[0], "-hosts", ",".join(network.addresses)]
        start = [*network.on(0), MPIEXEC, *hosts, "-n", "2", *command(folder, out, *flags)]
        self.mpiexec = subprocess.Popen(start, stdout=subprocess.PIPE, **options)
        self.proxies = []
        for line in self.mpiexec.stdout:
            if line.startswith("HYDRA_LAUNCH_END"):
                break
            self.said.append(line)
            if line.startswith("HYDRA_LAUNCH: "):
                there = [*network.on(len(self.proxies)), *shlex.split(line.removeprefix("HYDRA_LAUNCH: "))]
                self.proxies.append(subprocess.Popen(there, stdout=subprocess.DEVNULL, **options))
        assert len(self.proxies) == 2, self.said
        self.reader = threading.Thread(target=lambda: self.said.extend(self.mpiexec.stdout), daemon=True)
        self.reader.start()

    def until(self, rows):
        """Wait until so many steps are written down."""
        path, end = self.run / "metrics.jsonl", time.monotonic() + WITHIN
        while not path.exists() or path.read_bytes().count(b"\n") < rows:
            assert time.monotonic() < end, self.said
            assert self.mpiexec.poll() is None, self.said
            time.sleep(0.01)

    def ended(self):
        """mpiexec's exit code, and the seconds until the last process on either host was gone."""
        start = time.monotonic()
        while self.network.processes():
            assert time.monotonic() < start + WITHIN, f"these still run: {self.network.processes()}; {self.said}"
            time.sleep(0.05)
        for process in (self.mpiexec, *self.proxies):
            process.wait(WITHIN)
        self.reader.join(WITHIN)
        self.mpiexec.stdout.close()
        return self.mpiexec.returncode, time.monotonic() - start


def left_behind(run):
    """The line of each rank that has left one."""
    paths = [run / "gave-up.txt", *sorted(run.parent.glob(f"{run.name}.gave-up-*.txt"))]
    return [path.read_text().rstrip("\n") for path in paths if path.exists()]


def goes_on(network, folder, out, *flags):
    """A resume by both ranks: what it says."""
    job = Job(network, folder, out, "--resume", *flags)
    code, _ = job.ended()
    assert code == 0, job.said
    assert left_behind(folder / out) == []
    return "".join(job.said)


REDUCTIONS = ["ordered", "fast"]


def assert_as_one_process(folder, out, reduction):
    if reduction == "ordered":
        assert same(folder / out, folder / "one")
    else:
        assert_close(folder / out, folder / "one")


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_two_hosts_train_as_one_process(link, folder, reduction):
    before = link.crossed()
    job = Job(link, folder, f"two-{reduction}", f"--reduction={reduction}")
    code, _ = job.ended()
    assert code == 0, job.said
    assert_as_one_process(folder, f"two-{reduction}", reduction)
    assert link.crossed() - before > 50 * 32_000  # a gradient has 32 kB


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_link_that_is_cut_ends_all_and_says_why_where_it_is_found(link, folder, reduction):
    out = f"cut-{reduction}"
    job = Job(link, folder, out, f"--reduction={reduction}", plant=SLOWLY)
    job.until(12)
    link.cut()
    code, seconds = job.ended()
    assert code
    assert seconds < 2 * TIMEOUT + 4
    lines = left_behind(job.run)
    assert [line.partition(" did not reach ")[0] for line in lines] == [
        "gpt2 train: error: rank 0: rank 1",
        "gpt2 train: error: rank 1: rank 0",
    ]
    assert all(f" in {TIMEOUT} s: check whether it hangs, or raise --rank-timeout" in line for line in lines)
    link.mend()
    said = goes_on(link, folder, out, f"--reduction={reduction}")
    assert "gave-up.txt: rank 0: rank 1 did not reach " in said
    assert f"{out}.gave-up-1.txt: rank 1: rank 0 did not reach " in said
    assert_as_one_process(folder, out, reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_rank_that_comes_back_too_late_ends_too(link, folder, reduction):
    out = f"late-{reduction}"
    job = Job(link, folder, out, f"--reduction={reduction}", plant=SLOWLY)
    job.until(12)
    link.cut()
    time.sleep(TIMEOUT * 1.6)
    link.mend()
    code, seconds = job.ended()
    assert code
    assert seconds < TIMEOUT + 4
    assert left_behind(job.run)[0].startswith("gpt2 train: error: rank 0: rank 1 did not reach ")
    goes_on(link, folder, out, f"--reduction={reduction}")
    assert_as_one_process(folder, out, reduction)


def test_a_link_that_is_back_in_time_costs_nothing_but_the_time(link, folder):
    job = Job(link, folder, "blink", "--reduction=ordered", plant=SLOWLY)
    job.until(12)
    link.cut()
    time.sleep(1)
    link.mend()
    code, _ = job.ended()
    assert code == 0, job.said
    assert same(job.run, folder / "one")
    assert left_behind(job.run) == []


def test_one_process_names_what_ended_the_ranks_before_it(link, folder):
    job = Job(link, folder, "then-alone", "--reduction=ordered", plant=SLOWLY)
    job.until(12)
    link.cut()
    job.ended()
    done = alone(folder, "then-alone", "--reduction=ordered", "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the job before gave up") == 2
    assert left_behind(job.run) == []
    assert same(job.run, folder / "one")
