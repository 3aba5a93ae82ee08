"""How long a sum over all ranks takes, by size: `mpiexec -n 2 python -m experiments.ranks.messages` prints JSON."""

from __future__ import annotations

import json
import os
import statistics
import time

import numpy as np

from gpt2.training.mpi import comm

SIZES = [4**k for k in range(1, 13)]  # numbers of float32


def main() -> None:
    """Time each size; what counts is the rank that is done last."""
    job = comm.join("auto", 60.0)
    assert isinstance(job, comm.MpiComm), "start it with mpiexec"
    found = {}
    for size in SIZES:
        array, seconds = np.ones(size, np.float32), []
        for _ in range(40 if size < 1 << 20 else 12):
            job.barrier("the start")
            start = time.perf_counter()
            job.wait([job.start_all_reduce(array)], "the sum")
            seconds.append(max(job.all_gather(time.perf_counter() - start, "the end")))
            array[:] = 1
        found[4 * size] = statistics.median(seconds)
    if job.rank == 0:
        print(json.dumps({"ranks": job.size, "cores": len(os.sched_getaffinity(0)), "seconds": found}))


if __name__ == "__main__":
    main()
