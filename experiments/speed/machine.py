"""The machine that is measured: its processor, what is installed on it, and the name of the folder of its results."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.speed.contenders import CORES

ZEN = {
    23: {1: (0, 1, 2, 5), 2: (3, 4, 6, 7, 9, 10)},
    25: {3: (0, 2, 3, 4, 5), 4: (1, 6, 7, 8, 9, 10)},
    26: {5: (0, 1, 2, 4, 6, 7)},
}
"""AMD's generations by family and model // 16: in a virtual machine all are called "AMD EPYC"."""

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
PACKAGES = ("numpy", "torch", "jax", "numba", "mkl")


def machine() -> dict[str, Any]:
    """Its processor and cores, and the versions that run; None for what is not installed."""
    versions: dict[str, str | None] = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    return {**processor(text), "cores": CORES, "versions": versions}


def processor(cpuinfo: str) -> dict[str, Any]:
    """Its name, with the generation where that is AMD's, and its vector instructions: of the text of /proc/cpuinfo."""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in cpuinfo.splitlines())}
    name = facts.get("model name") or platform.processor() or platform.machine()
    if facts.get("vendor_id") == "AuthenticAMD":
        family, model = int(facts["cpu family"]), int(facts["model"])
        generation = next((zen for zen, models in ZEN.get(family, {}).items() if model // 16 in models), None)
        name += f" (Zen {generation})" if generation else f" (family {family}, model {model})"
    return {"cpu": name, "flags": [flag for flag in FLAGS if flag in facts.get("flags", "").split()]}


def slug(of: Mapping[str, Any]) -> str:
    """The name of a machine's folder: processor, cores, and its latest kind of vector instructions."""
    name = re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*", " ", of["cpu"])
    words = f"{name} {of['cores']} cores {' '.join(of['flags'][-1:])}"
    return "-".join(re.findall(r"[a-z0-9]+", words.lower()))
