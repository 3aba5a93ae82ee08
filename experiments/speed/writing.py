"""Tokens per second of a 124M GPT-2 that writes one sequence: ours in float32 and int8, beside transformers.

    python -m experiments.speed.writing                       # five rounds; the last line is the row, as JSON
    python -m experiments.speed.writing --rounds 3 --tokens 50

All have the same random weights and keep keys and values. Every contender runs once in a round, in a process of its own, and
the next round begins with the next. A token reads every weight once. So beside the tokens stands what memory gives: how many
bytes per second all cores read of 500 MB, in the same process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from experiments.speed.machine import machine
from gpt2 import GPT2, GPT2Config
from gpt2.weights import int8
from tinygrad2 import kernels
from tinygrad2.kernels.fast.memory import keep_freed_memory
from tinygrad2.kernels.fast.threads import cores

CONTENDERS = ("float32", "int8", "transformers")
PROMPT, LONG, READ = 16, 1000, 500_000_000


def timed(f: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def ours(folder: Path) -> tuple[Callable[[Any, int], Any], int]:
    """What writes, and the bytes that it reads for a token."""
    keep_freed_memory()
    model = GPT2.from_pretrained(folder)
    return model.generate, sum(array.nbytes for name, array in int8.state(model).items() if name != "wpe.weight")


def theirs(folder: Path) -> tuple[Callable[[Any, int], Any], int]:
    """The same of transformers."""
    import torch
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    settings = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None}

    def generate(prompt: Any, tokens: int) -> Any:
        with torch.no_grad():
            ids = torch.tensor(prompt)
            length = {"min_new_tokens": tokens, "max_new_tokens": tokens}
            return model.generate(ids, attention_mask=torch.ones_like(ids), **length, **settings).numpy()

    return generate, sum(p.nbytes for name, p in model.named_parameters() if "wpe" not in name)


def bandwidth(rounds: int = 5) -> float:
    """Bytes per second that all cores read, by products with a vector that stays in the cache: the best of some rounds."""
    ones, n = np.ones(1 << 13, np.float32), cores()
    rows = np.ones((READ // 4 // len(ones), len(ones)), np.float32)
    parts = np.array_split(rows, n)
    with ThreadPoolExecutor(n) as pool:
        return rows.nbytes / min(timed(lambda: list(pool.map(lambda part: part @ ones, parts))) for _ in range(rounds))


def child(name: str, folder: Path, tokens: int) -> None:
    """Measure one contender and print what was found."""
    start = time.perf_counter()
    generate, size = (theirs if name == "transformers" else ours)(folder / ("int8" if name == "int8" else "float32"))
    loaded, rng = time.perf_counter() - start, np.random.default_rng(0)
    short, long = rng.integers(0, 50257, (1, PROMPT)), rng.integers(0, 50257, (1, LONG))
    written = generate(short, 20)[0].tolist()  # what is made at first is not timed
    generate(long, 1)
    seconds = timed(lambda: generate(short, tokens)) - timed(lambda: generate(short, 1))
    row = {"tokens_per_s": (tokens - 1) / seconds, "prompt_s": timed(lambda: generate(long, 1)), "load_s": loaded}
    row["of_memory"] = row["tokens_per_s"] * size / bandwidth()
    print(
        json.dumps({**row, "bytes": size, "written": written, "running": None if name == "transformers" else kernels.running()})
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], Path(args.child[1]), args.tokens)
        return
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        model = GPT2(GPT2Config.preset("gpt2"), seed=0)
        model.save_pretrained(Path(folder, "float32"))
        int8.quantized(model).save_pretrained(Path(folder, "int8"))
        size = Path(folder, "int8", "model.safetensors").stat().st_size
        for i in range(args.rounds):
            for j in range(len(CONTENDERS)):
                name = CONTENDERS[(i + j) % len(CONTENDERS)]
                command = [sys.executable, "-m", "experiments.speed.writing", "--tokens", str(args.tokens)]
                done = subprocess.run([*command, "--child", name, folder], capture_output=True, text=True, check=True)
                row = json.loads(done.stdout.splitlines()[-1])
                found[name].append(row)
                print(
                    f"round {i}  {name:13}{row['tokens_per_s']:6.1f} tokens/s, {row['of_memory']:4.0%} of what memory allows, "
                    f"{LONG} tokens read in {row['prompt_s']:.2f} s, loaded in {row['load_s']:.1f} s",
                    flush=True,
                )
    assert found["float32"][0]["written"] == found["transformers"][0]["written"], "the two write different tokens"
    keys = ("tokens_per_s", "of_memory", "prompt_s", "load_s")
    medians = {name: {key: statistics.median(row[key] for row in rows) for key in keys} for name, rows in found.items()}
    for name in CONTENDERS[:2]:
        for other in ("float32", "transformers"):
            ratios = [a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(found[name], found[other], strict=True)]
            medians[name][f"over_{other}"] = statistics.median(ratios)
    about = {"tokens": args.tokens, "rounds": args.rounds, "int8_file_bytes": size, "running": found["int8"][0]["running"]}
    print(json.dumps({**medians, **about, "machine": machine()}))


if __name__ == "__main__":
    main()
