"""What the processes of one training send each other. A process that is alone sends nothing, by the same calls.

`mpiexec -n 4 gpt2 train` starts four processes, the ranks; rank 0 is the main process. Every wait asks again and again
whether it is over, so that a rank that has died, hangs or is elsewhere ends the job with an error that names it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gpt2.errors import ConfigError, GPT2Error
from gpt2.run.folder import REASON
from tinygrad2.files import write_atomically
from tinygrad2.kernels.fast.products import round_to_bfloat16
from tinygrad2.types import Array

T = TypeVar("T")

STARTED = ("PMI_SIZE", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
"""Variables that MPICH, Intel MPI, Open MPI and Slurm give the processes that they start."""

FIRST_SPEAKS = 0.3
"""Seconds that a rank which failed leaves to each one below it: if they fail alike, one of them says it for all."""


class LostRankError(GPT2Error):
    """Another rank has not come to where it was waited for."""


class Comm:
    """The processes that train together; in this form, for a process that is alone, nothing is done.

    `rank` of `size` is this process, and `local_size` are those on the same machine. `timeout` is how long, in seconds, one
    waits for another; `waited` is how long this one has, in all. `gives_up_in` is the file in which this process says why it
    has ended the job: what it prints goes to the launcher, which may be out of reach.
    """

    rank, size, local_size = 0, 1, 1
    timeout, waited = 600.0, 0.0
    gives_up_in: Path | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """What an error begins with that may be of one process only."""
        return "" if self.size == 1 else f"rank {self.rank}: "

    def bounds(self, count: int) -> Array:
        """Where the part of each process of so many things begins, and the last ends: `size` + 1 numbers."""
        return np.arange(self.size + 1) * count // self.size

    def barrier(self, what: str, note: int = 0) -> int:
        """Wait until all are here; the largest `note` of any. Raises LostRankError that names those who do not come."""
        return note

    def all_gather(self, value: T, what: str) -> list[T]:
        """What each process gives (any small Python value), by rank, on all of them."""
        return [value]

    def broadcast(self, value: T, what: str) -> T:
        """What the main process has, on all."""
        return self.all_gather(value, what)[0]

    def broadcast_arrays(self, arrays: Sequence[Array], what: str, root: int = 0) -> None:
        """Make these arrays, in place, what they are on rank `root`. They are contiguous, in any order of their axes."""

    def check_same(self, facts: dict[str, str]) -> None:
        """Raise ConfigError that lists what is not the same on all."""
        first, *rest = self.all_gather(facts, "the comparison of the settings")
        wrong = []
        for name, value in first.items():
            rank = next((rank for rank, others in enumerate(rest, 1) if others.get(name) != value), 0)
            if rank:
                wrong.append(f"{name} is {rest[rank - 1].get(name)} on rank {rank}, and {value} on rank 0")
        if wrong:
            raise ConfigError(f"the ranks differ: {'; '.join(wrong)}: start them with the same command, text and code")

    def abort(self, code: int) -> None:
        """End all processes of the job, without coming back; nothing where this one is alone."""

    def leave_reason(self, error: BaseException) -> None:
        """Called by a process that failed, before it says why: a lower rank that failed as well speaks first.

        The reason is also left in the file `gives_up_in`.
        """


class MpiComm(Comm):
    """The ranks of an MPI job."""

    def __init__(self, timeout: float = 600.0) -> None:
        from mpi4py import MPI

        self._mpi, self._comm = MPI, MPI.COMM_WORLD
        self.rank, self.size = self._comm.rank, self._comm.size
        self.local_size = self._comm.Split_type(MPI.COMM_TYPE_SHARED).size
        self.timeout, self.waited = timeout, 0.0
        self._rounded_sum = MPI.Op.Create(_add_bfloat16, commute=True)

    def barrier(self, what: str, note: int = 0) -> int:
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

    def all_gather(self, value: T, what: str) -> list[T]:
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = np.zeros(self.size, int)
        self.wait([self._comm.Iallgather(np.array([data.size]), sizes)], what)
        everything = np.empty(sizes.sum(), np.uint8)
        self.wait([self._comm.Iallgatherv(data, [everything, sizes])], what)
        return [pickle.loads(part.tobytes()) for part in np.split(everything, np.cumsum(sizes)[:-1])]

    def broadcast_arrays(self, arrays: Sequence[Array], what: str, root: int = 0) -> None:
        self.wait([self._comm.Ibcast(_flat(a), root) for a in arrays], what)

    def start_all_reduce(self, array: Array, rounded: bool = False) -> Any:
        """Begin to replace an array by its sum over all ranks; `rounded` arrays are bfloat16, as uint16. To be waited for."""
        operation = self._rounded_sum if rounded else self._mpi.SUM
        return self._comm.Iallreduce(self._mpi.IN_PLACE, _flat(array), operation)

    def send(self, arrays: Sequence[Array], rank: int, what: str) -> None:
        """Give arrays to another rank, which receives as many of the same shapes and dtypes."""
        self.wait([self._comm.Isend(_flat(a), rank, 3) for a in arrays], what)

    def receive(self, arrays: Sequence[Array], rank: int, what: str) -> None:
        """Fill arrays with what another rank sends."""
        self.wait([self._comm.Irecv(_flat(a), rank, 3) for a in arrays], what)

    def start_all_gather(self, flat: Array, bounds: Array) -> Any:
        """Begin to give the part that each rank has of a flat array, from bounds[rank] to bounds[rank + 1], to all of them."""
        return self._comm.Iallgatherv(self._mpi.IN_PLACE, [flat, np.diff(bounds)])

    def start_gather(self, part: Array, flat: Array | None, bounds: Array) -> Any:
        """Begin to put the parts that the ranks have together, in `flat` on rank 0."""
        return self._comm.Igatherv(part, None if flat is None else [flat, np.diff(bounds)], 0)

    def leave_reason(self, error: BaseException) -> None:
        time.sleep(FIRST_SPEAKS * self.rank)
        if self.gives_up_in is not None:
            kind = "" if isinstance(error, GPT2Error) else f"{type(error).__name__}: "
            line = f"{REASON}{self.name}{kind}{error}"
            with contextlib.suppress(OSError):  # a full disk takes nothing from what is printed
                if self.rank:  # what is beside the run folder of rank 0 may be nowhere here
                    self.gives_up_in.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self.gives_up_in, line.encode(errors="backslashreplace") + b"\n")

    def abort(self, code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(FIRST_SPEAKS / 3)  # until the launcher has read that: it reads no more once a rank aborts
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
        raise LostRankError(f"all ranks are running, but {what} takes more than {self.timeout:g} s: raise --rank-timeout")

    def _require(self, missing: list[int], what: str) -> None:
        """Raise LostRankError if any are missing."""
        if missing:
            names = " and ".join(f"rank {i}" for i in missing)
            raise LostRankError(
                f"{names} did not reach {what} in {self.timeout:g} s: check whether it hangs, or raise --rank-timeout"
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


_current = Comm()


def join(distributed: str, timeout: float) -> Comm:
    """The processes of this job; from then on `current` gives them too.

    Without mpiexec, or where `distributed` is "off", MPI is not even loaded. Raises ConfigError where it is needed and missing.
    """
    global _current
    if distributed != "off" and any(name in os.environ for name in STARTED):
        try:
            comm = MpiComm(timeout)
        except ImportError as error:
            raise ConfigError(f"started by mpiexec, but {error}: pip install 'tinygrad2[mpi]', or --distributed off") from error
        _current = comm if comm.size > 1 else Comm()
    return _current


def current() -> Comm:
    """The processes of this job."""
    return _current
