"""Long runs: seconds and memory of the commands that read a log, and of the watch while it trains.

    python tests/benchmarks/long_runs.py [STEPS]

The log has the rows of a model with four blocks, and an evaluation every 250 steps.
"""

import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.run.folder import Run
from gpt2.run.health import Monitor
from gpt2.run.metrics import as_line
from gpt2.text.corpora import Corpus
from gpt2.text.encoding import tokenizer_for

BLOCKS = [f"h.{i}" for i in range(4)]
MATRICES = [f"{block}.{name}.weight" for block in BLOCKS for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")]


def rows(steps):
    """Those of a healthy run."""
    rng = random.Random(0)
    for step in range(steps + 1):
        row = {"step": step}
        if step:
            row |= {"train_loss": 1.5 + 50 / (step + 20) + rng.gauss(0, 0.05), "learning_rate": 3e-4}
            row |= {"grad_norm": rng.uniform(0.5, 1), "tokens_per_s": round(rng.uniform(9e3, 1e4), 1)}
        if step % 250 == 0:
            block = {name: round(rng.random(), 5) for name in ("in_std", "out_std", "off", "attention_error")}
            heads = {str(i): round(rng.uniform(0.2, 0.9), 5) for i in range(4)}
            blocks = {name: {**block, "attention_error": 1e-7, "dead": 0.0, "entropy": heads, "sink": heads} for name in BLOCKS}
            row |= {"grad_norms": {name: rng.uniform(0.5, 1) for name in BLOCKS}} if step else {}
            row |= {"update_ratios": {name: round(rng.gauss(-3, 0.2), 4) for name in MATRICES}} if step else {}
            row |= {"val_loss": 1.6 + 50 / (step + 20), "val_tokens": 10_000, "baselines": {"unigram": 3.3, "bigram": 2.5}}
            row["diagnostics"] = {"blocks": blocks, "future": 0.0, "offsets": {"0": 5.0, "1": 1.6, "2": 4.0}}
            row["diagnostics"] |= {"slope": 1.0, "slope_doubt": 0.001}
        yield row


def described(folder):
    """A run folder without rows."""
    folder.mkdir()
    corpus, config = Corpus.of_text("bench", "the quick brown fox jumps over the lazy dog\n" * 99), TrainConfig(steps=1_000_000)
    tokenizer = tokenizer_for(corpus, config)
    model = GPT2(GPT2Config(vocab_size=tokenizer.vocab_size, d_model=64, num_layers=4, num_heads=4, max_seq_len=64))
    run = Run(folder)
    run.describe(model, config, corpus, tokenizer, {})
    return run


def command(*arguments):
    """Wall seconds, seconds of the processor, and the largest memory, of a command in a process of its own."""
    script = (
        "import resource, sys; from gpt2.cli import main; main(sys.argv[1:]); used = resource.getrusage(resource.RUSAGE_SELF); "
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=sys.stderr)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    cpu, memory = map(float, done.stderr.split())
    print(f"gpt2 {arguments[0]:8} {seconds:6.2f} s ({cpu:.2f} s of the processor)  {memory:6.0f} MB", flush=True)


def watch(run, steps):
    """Bytes for each step, and the time of the next evaluation, of the watch of a training."""
    run.metrics.write_text("")
    seen = Monitor(run.metrics, GPT2Config(vocab_size=65, d_model=64, num_heads=4), TrainConfig(steps=steps), lambda _: None)
    tracemalloc.start()
    for row in rows(steps + 250):
        start = time.perf_counter()
        seen.add(row)
        if row["step"] == steps:
            size = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
    seconds = time.perf_counter() - start
    print(
        f"watch of {steps:7,} steps: {size / 1e6:.2f} MB, {size / steps:.1f} bytes a step, {seconds * 1e3:.1f} ms an evaluation"
    )


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        run = described(Path(folder, "run"))
        with open(run.metrics, "w") as file:
            file.writelines(map(as_line, rows(steps)))
        print(f"a log of {steps:,} steps: {run.metrics.stat().st_size / 1e6:.0f} MB", flush=True)
        command("health", run.folder)
        command("plot", run.folder, "--out", Path(folder, "a.png"))
        command("runs", folder)
        for steps in (9_000, 300_000):
            watch(run, steps)
