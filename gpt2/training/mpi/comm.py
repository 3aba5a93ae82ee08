"""Processes that train together over MPI, and how they wait for each other: never without end.

`mpiexec -n 4 gpt2 train` starts four processes, the ranks. Every wait asks again and again whether it is over, so that a rank
that has died, hangs or is elsewhere ends the job with an error that names it, and never a silent one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.errors import ConfigError, GPT2Error
from tinygrad2.files import write_atomically
from tinygrad2.kernels.fast.products import round_to_bfloat16

Array = np.ndarray[Any, Any]

STARTED = ("PMI_SIZE", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
"""Variables that MPICH, Intel MPI, Open MPI and Slurm give the processes that they start."""

FIRST_SPEAKS = 0.3
"""Seconds that a rank which failed leaves to each one below it: if they fail alike, one of them says it for all."""

SAYS = "gpt2 train: error: "
"""How the file begins in which a rank leaves why it gave up."""


class LostRankError(GPT2Error):
    """Another rank has not come to where it was waited for."""


class Ranks:
    """The processes of a job. `rank` of `size` is this one, and `here` are those on the same machine.

    `timeout` is how long, in seconds, one waits for another; `waited` is how long this one has, in all. `gives_up_in` is the
    file that says why this rank has ended the job: what it prints goes to the launcher, which may be out of reach.
    """

    gives_up_in: Path | None = None

    def __init__(self, timeout: float = 600.0) -> None:
        from mpi4py import MPI

        self._mpi, self._comm = MPI, MPI.COMM_WORLD
        self.rank, self.size = self._comm.rank, self._comm.size
        self.here = self._comm.Split_type(MPI.COMM_TYPE_SHARED).size
        self.timeout, self.waited = timeout, 0.0
        self._rounded_sum = MPI.Op.Create(_add_bfloat16, commute=True)

    def meet(self, what: str, note: int = 0) -> int:
        """Wait until all ranks are here; the largest `note` of any. Raises LostRankError that names those who do not come."""
        mine, answer = np.array([note]), np.zeros(1, int)
        if self.rank:
            self.wait([self._comm.Isend(mine, 0, 1), self._comm.Irecv(answer, 0, 2)], what)
            return int(answer[0])
        notes = np.zeros((self.size, 1), int)
        coming = [self._comm.Irecv(notes[i], i, 1) for i in range(1, self.size)]
        self._require([i + 1 for i in self._left(coming, self.timeout)], what)
        answer[0] = max(note, int(notes.max()))
        self.wait([self._comm.Isend(answer, i, 2) for i in range(1, self.size)], what)
        return int(answer[0])

    def gather(self, value: Any, what: str) -> list[Any]:
        """What each rank gives (any small Python value), by rank, on all of them."""
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = np.zeros(self.size, int)
        self.wait([self._comm.Iallgather(np.array([data.size]), sizes)], what)
        everything = np.empty(sizes.sum(), np.uint8)
        self.wait([self._comm.Iallgatherv(data, [everything, sizes])], what)
        return [pickle.loads(part.tobytes()) for part in np.split(everything, np.cumsum(sizes)[:-1])]

    def agree(self, facts: dict[str, str]) -> None:
        """Raise ConfigError that lists what is not the same on all ranks."""
        all_facts = self.gather(facts, "the comparison of the settings")
        wrong = []
        for name, value in all_facts[0].items():
            for rank, others in enumerate(all_facts):
                if others.get(name) != value:
                    wrong.append(f"{name} is {others.get(name)} on rank {rank}, and {value} on rank 0")
                    break
        if wrong:
            raise ConfigError(f"the ranks do not agree: {'; '.join(wrong)}: start them with the same command, text and code")

    def copy_from(self, rank: int, arrays: Sequence[Array], what: str) -> None:
        """Make these arrays, in place, what they are on `rank`. They are contiguous, in any order of their axes."""
        self.wait([self._comm.Ibcast(_flat(a), rank) for a in arrays], what)

    def start_sum(self, array: Array, rounded: bool = False) -> Any:
        """Begin to replace an array by its sum over all ranks; `rounded` arrays are bfloat16, as uint16. To be waited for."""
        operation = self._rounded_sum if rounded else self._mpi.SUM
        return self._comm.Iallreduce(self._mpi.IN_PLACE, _flat(array), operation)

    def pass_on(self, arrays: Sequence[Array], what: str, receive: bool) -> None:
        """Take these arrays from the rank before, or give them to the one after; the ends have nobody there."""
        other = self.rank - 1 if receive else self.rank + 1
        if 0 <= other < self.size:
            begin = self._comm.Irecv if receive else self._comm.Isend
            self.wait([begin(_flat(a), other, 3) for a in arrays], what)

    def start_join(self, flat: Array, bounds: Array) -> Any:
        """Begin to give the part that each rank has of a flat array, from bounds[rank] to bounds[rank + 1], to all of them."""
        return self._comm.Iallgatherv(self._mpi.IN_PLACE, [flat, np.diff(bounds)])

    def start_collect(self, part: Array, flat: Array | None, bounds: Array) -> Any:
        """Begin to put the parts that the ranks have together, in `flat` on rank 0."""
        return self._comm.Igatherv(part, None if flat is None else [flat, np.diff(bounds)], 0)

    def abort(self, code: int) -> None:
        """End all ranks, now."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._comm.Abort(code)
        os._exit(code)  # MPICH comes back from there, and at an exit in order waits for ranks that may be out of reach

    def wait(self, requests: list[Any], what: str) -> None:
        """Until all are done. Raises LostRankError: those who wait in vain say so to rank 0, which names the others."""
        if not self._left(requests, self.timeout):
            return
        here = np.zeros(1, int)
        if self.rank:
            self._comm.Isend(here, 0, 4)
            time.sleep(self.timeout)  # by then rank 0 has ended the job
            self._require([0], what)
        calls = [self._comm.Irecv(here, i, 4) for i in range(1, self.size)]
        self._require([i + 1 for i in self._left(calls, self.timeout / 2)], what)
        raise LostRankError(f"all ranks are there, but {what} takes more than {self.timeout:g} s: raise --rank-timeout")

    def _require(self, missing: list[int], what: str) -> None:
        """Raise LostRankError if any are missing."""
        if missing:
            names = " and ".join(f"rank {i}" for i in missing)
            raise LostRankError(
                f"{names} did not come to {what} in {self.timeout:g} s: see whether it hangs, or raise --rank-timeout"
            )

    def _left(self, requests: list[Any], seconds: float) -> list[int]:
        """Those that are not done, after at most so many seconds."""
        start, pause = time.perf_counter(), 0.0
        left = list(range(len(requests)))
        while left := [i for i in left if not requests[i].Test()]:
            now = time.perf_counter()
            if now - start > seconds:
                break
            time.sleep(pause)
            pause = 0.0 if now - start < 1e-3 else 5e-5
        self.waited += time.perf_counter() - start
        return left


def _flat(array: Array) -> Array:
    """A view in one dimension of a contiguous array, whatever the order of its axes."""
    flat = array.ravel(order="K")
    assert np.shares_memory(flat, array) or not array.size
    return flat


def _add_bfloat16(given: Any, sums: Any, datatype: Any) -> None:
    """What MPI calls to add bfloat16: in float32, rounded again."""
    a, b = np.frombuffer(given, np.uint16), np.frombuffer(sums, np.uint16)
    b[:] = round_to_bfloat16(from_bfloat16(a) + from_bfloat16(b))


def from_bfloat16(x: Array) -> Array:
    """bfloat16, as uint16, to float32."""
    return (x.astype(np.uint32) << 16).view(np.float32)


_current: Ranks | None = None


def join(distributed: str, timeout: float) -> Ranks | None:
    """The ranks of this job, if mpiexec started more than one; from then on `current` gives them too.

    Without mpiexec, or where `distributed` is "off", MPI is not even loaded. Raises ConfigError where it is needed and missing.
    """
    global _current
    if distributed == "off" or not any(name in os.environ for name in STARTED):
        return None
    try:
        ranks = Ranks(timeout)
    except ImportError as error:
        raise ConfigError(f"started by mpiexec, but {error}: pip install 'tinygrad2[mpi]', or --distributed off") from error
    _current = ranks if ranks.size > 1 else None
    return _current


def current() -> Ranks | None:
    """The ranks of this job, or None where this process is alone."""
    return _current


def count() -> int:
    """How many processes train together."""
    return _current.size if _current else 1


def name() -> str:
    """What an error begins with that may be of one rank only: nothing where this process is alone."""
    return f"rank {_current.rank}: " if _current else ""


def fail(code: int) -> None:
    """End the job because this rank has failed; nothing where it is alone."""
    if _current is not None:
        _current.abort(code)


def let_others_speak(error: BaseException) -> None:
    """Called by a rank that failed before it says so: a lower one that failed as well speaks first, and ends the job."""
    if _current is None:
        return
    time.sleep(FIRST_SPEAKS * _current.rank)
    if _current.gives_up_in is not None:
        kind = "" if isinstance(error, GPT2Error) else f"{type(error).__name__}: "
        line = f"{SAYS}{name()}{kind}{error}"
        with contextlib.suppress(OSError):  # a full disk takes nothing from what is printed
            if _current.rank:  # what is beside the run folder of rank 0 may be nowhere here
                _current.gives_up_in.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(_current.gives_up_in, line.encode(errors="backslashreplace") + b"\n")
