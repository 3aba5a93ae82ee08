"""A recorded step as a program: forward and backward in plain NumPy, a line per op and a line per contribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from tinygrad2.errors import GraphError
from tinygrad2.files import atomic_file
from tinygrad2.study.programs.collapse import collapsed
from tinygrad2.study.programs.program import plain
from tinygrad2.study.programs.writer import Writer
from tinygrad2.study.trace import Trace
from tinygrad2.tensor import Tensor
from tinygrad2.types import Array


def explain(
    loss: Tensor | Sequence[Tensor],
    folder: str | Path | None = None,
    collapse: bool = False,
    kernels: Literal["numpy", "spec"] = "numpy",
) -> str:
    """The text of a program that computes a recorded loss and all its gradients again, bit for bit, with NumPy alone.

    Args:
        loss: a single number, computed inside `study.record()`; or several, in the order in which `backward()` is called
            on them: then the program adds their gradients as `.grad` does.
        folder: where to write `program.py`, and `inputs.npz` with the parameters and constants that it reads. It is made.
        collapse: write modules that repeat, such as the blocks h.0, h.1, as one function that is called for each.
        kernels: "numpy" writes fused ops, such as attention, as the kernels that compute them, for the same bits; "spec" by
            their specifications and their gradients on paper, and sums as NumPy's, to be read: less than half the lines, and
            equal within rounding. An op that gives no `rule` stays a kernel.

    Executed, it leaves `loss` (for several, a list) and `grads`, a dict from the full name of every leaf. The bits are those
    of the NumPy kernels in float32 or float64, outside of a pool of threads, on the same machine and NumPy.

    Raises GraphError for a Tensor that was not recorded, is not one number, or has hooks in its graph; for a rule whose source
    is not to be had; and where the folder cannot be written, and then nothing is.
    """
    if kernels not in ("numpy", "spec"):
        raise GraphError(f'explain: kernels={kernels!r} is neither "numpy", the same bits, nor "spec", the specifications')
    losses = [loss] if isinstance(loss, Tensor) else list(loss)
    if not losses:
        raise GraphError("explain: there is no loss in this list; give one or more, recorded inside `study.record()`")
    with np.errstate(all="ignore"):
        program = Writer([Trace(x) for x in losses], by_spec=kernels == "spec").program
    text = collapsed(program) if collapse else plain(program)
    if folder is not None:
        _write(Path(folder), text, program.inputs)
    return text


def _write(folder: Path, text: str, inputs: Mapping[str, Array]) -> None:
    """Both files or none."""
    paths = folder / "program.py", folder / "inputs.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a folder")
        with atomic_file(paths[0]) as program, atomic_file(paths[1]) as arrays:
            program.write(text.encode())
            np.savez(arrays, **inputs)  # type: ignore[arg-type]
    except OSError as error:
        raise GraphError(f"explain: program.py and inputs.npz cannot be written into {folder}: {error}") from error
