"""How fast GPT-2's tokenizer encodes and a BPE is trained, beside tiktoken and Hugging Face's tokenizers where installed.

    python tests/benchmarks/tokenizer_speed.py                            # English from Python's own documentation
    python tests/benchmarks/tokenizer_speed.py --text tinyshakespeare.txt # and from files of yours
    python tests/benchmarks/tokenizer_speed.py --fresh '/usr/share/doc/**/*.html'

One thread each. The programs take turns, every time with an empty cache of words; medians. "repeated" is a text of less than
10 MB again and again until it has 10 MB: its words soon are all in the cache. "fresh" are 10 MB of files that differ, by
default the source of Python's own library; "new words" are the different words of these, each once, so that a cache is of no
use. Every result is compared with tiktoken's, id by id.
"""

from __future__ import annotations

import argparse
import gc
import glob
import importlib.util
import os
import statistics
import sysconfig
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["RAYON_NUM_THREADS"] = "1"  # before tokenizers is imported

from gpt2.text.corpora import pydocs
from gpt2.tokenizers import BPETokenizer, vocabulary
from gpt2.tokenizers.alphabet import unspell
from gpt2.tokenizers.words import words

SIZE = 10_000_000
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def tiktoken_encoding() -> Any:
    """tiktoken from the same two files; None where it is not installed."""
    if not importlib.util.find_spec("tiktoken"):
        return None
    import json

    import tiktoken

    encoder, _ = vocabulary.find()
    ids: dict[str, int] = json.loads(encoder)
    end = {"<|endoftext|>": ids.pop("<|endoftext|>")}
    ranks = {unspell(name): i for name, i in ids.items()}
    return tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=end)


def train_hugging_face(text: str, merges: int) -> None:
    """The same training, by tokenizers."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + merges, show_progress=False, special_tokens=[], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([text], trainer)


def alternating(repeats: int, jobs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The median seconds of each job; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            gc.collect()
            begin = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(found) for name, found in times.items()}


def texts(files: list[str], pattern: str | None) -> dict[str, str]:
    """What is encoded, by name."""
    english = "\n\n".join([*(Path(file).read_text("utf-8") for file in files), pydocs()])
    library = str(Path(sysconfig.get_paths()["stdlib"]) / "**" / "*.py")
    fresh, size = [], 0
    for path in sorted(glob.glob(pattern or library, recursive=True)):
        if size < SIZE and Path(path).is_file():
            fresh.append(Path(path).read_text("utf-8", errors="replace"))
            size += len(fresh[-1].encode())
    different = "".join(dict.fromkeys(word for some in words("\n".join(fresh)) for word in some))
    return {
        "repeated": (english * (SIZE // len(english) + 1))[:SIZE],
        "fresh": "\n".join(fresh),
        "new words": different,
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="*", default=[], help="files of English, before Python's documentation")
    parser.add_argument("--fresh", help="a glob of files that differ")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    begin = time.perf_counter()
    ours = BPETokenizer.gpt2()
    loading = time.perf_counter() - begin
    theirs = tiktoken_encoding()
    print(f"loading GPT-2's vocabulary: {loading:.2f} s\n")
    print(f"{'encoding':<12}{'MB':>7}{'tokens':>12}{'ours, s':>10}{'MB/s':>7}{'tiktoken, s':>13}{'ratio':>7}  ids")
    corpora = texts(args.text, args.fresh)
    for name, text in corpora.items():
        megabytes = len(text.encode()) / 1e6

        def encode(text: str = text) -> Any:
            ours._cache.clear()
            return ours.encode(text)

        jobs: dict[str, Callable[[], Any]] = {"ours": encode}
        if theirs:
            jobs["theirs"] = lambda text=text: theirs.encode_to_numpy(text, disallowed_special=())
        seconds = alternating(args.repeats, jobs)
        row = f"{name:<12}{megabytes:>7.2f}{len(encode()):>12,}{seconds['ours']:>10.2f}{megabytes / seconds['ours']:>7.1f}"
        if theirs:
            same = (ours.encode(text) == jobs["theirs"]()).all()
            row += (
                f"{seconds['theirs']:>13.2f}{seconds['ours'] / seconds['theirs']:>7.2f}  {'identical' if same else 'DIFFERENT'}"
            )
        print(row)

    tracemalloc.start()
    ours._cache.clear()
    ours.encode(corpora["new words"])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"\nthe cache after that: {len(ours._cache):,} words, {kept / 1e6:.1f} MB")

    print(f"\n{'training':<12}{'MB':>7}{'merges':>12}{'ours, s':>10}{'tokenizers, s':>15}{'ratio':>7}")
    for name in ("repeated", "fresh"):
        text = corpora[name]
        jobs = {"ours": lambda text=text: BPETokenizer.train(text, 4096 + 257)}
        if importlib.util.find_spec("tokenizers"):
            jobs["theirs"] = lambda text=text: train_hugging_face(text, 4096)
        seconds = alternating(max(1, args.repeats // 2), jobs)
        row = f"{name:<12}{len(text.encode()) / 1e6:>7.2f}{4096:>12,}{seconds['ours']:>10.2f}"
        if "theirs" in seconds:
            row += f"{seconds['theirs']:>15.2f}{seconds['ours'] / seconds['theirs']:>7.2f}"
        print(row)


if __name__ == "__main__":
    main()
