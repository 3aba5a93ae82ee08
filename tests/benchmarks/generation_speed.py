"""Writing with a 124M GPT-2, float32, one sequence: this program beside `transformers`, and beside what memory allows.

    python tests/benchmarks/generation_speed.py [--tokens 64] [--rounds 5]

Both have the same random weights and a cache, and take turns. A token reads every weight once, so it cannot take less time
than a matrix-vector product over as many bytes; that product is timed in every round too.
"""

import argparse
import logging
import statistics
import tempfile
import time

import numpy as np

from gpt2 import GPT2, GPT2Config
from tinygrad2.kernels.fast.memory import keep_freed_memory


def timed(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def bandwidth(matrix, vector, rounds=5):
    """Bytes per second of a matrix-vector product: the best of a few."""
    return matrix.nbytes / min(timed(lambda: matrix @ vector) for _ in range(rounds))


def twins():
    """The same random weights from one folder, as users load them: here, and in transformers, generating greedily."""
    import torch
    from transformers import GPT2LMHeadModel
    from transformers.utils import logging as hf_logging

    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        GPT2(GPT2Config.preset("gpt2"), seed=0).save_pretrained(folder)
        model = GPT2.from_pretrained(folder)
        twin = GPT2LMHeadModel.from_pretrained(folder).eval()

    def generate(prompt, tokens):
        with torch.no_grad():
            ids = torch.tensor(prompt)
            return twin.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=None,
            ).numpy()

    return model, generate


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    keep_freed_memory()
    rng = np.random.default_rng(0)
    model, twin = twins()
    short, long = rng.integers(0, 50257, (1, 16)), rng.integers(0, 50257, (1, 1000))
    weights = sum(p.data.nbytes for p in model.parameters()) - model.wpe.weight.data.nbytes
    matrix, vector = rng.random((weights // 4 // 2304, 2304), np.float32), rng.random(2304, np.float32)
    assert (model.generate(short, args.tokens) == twin(short, args.tokens)).all(), "the two write different tokens"

    def per_token(generate):
        """Seconds: many tokens less the first, so that the prompt does not count."""
        many, one = timed(lambda: generate(short, args.tokens)), timed(lambda: generate(short, 1))
        return (many - one) / (args.tokens - 1)

    model.generate(long, 1), twin(long, 1)  # the first time of each takes longer
    rows = []
    print("tokens/s ours, theirs, ratio | what memory allows, our share | 1,000-token prompt ours s, theirs s, ratio")
    for _ in range(args.rounds):
        limit = bandwidth(matrix, vector) / weights
        ours, theirs = 1 / per_token(model.generate), 1 / per_token(twin)
        first, their_first = timed(lambda: model.generate(long, 1)), timed(lambda: twin(long, 1))
        rows.append((ours, theirs, ours / theirs, limit, ours / limit, first, their_first, first / their_first))
        print("{:6.1f} {:6.1f} {:5.2f} | {:6.1f} {:5.0%} | {:6.2f} {:6.2f} {:5.2f}".format(*rows[-1]), flush=True)
    print("median:")
    print(
        "{:6.1f} {:6.1f} {:5.2f} | {:6.1f} {:5.0%} | {:6.2f} {:6.2f} {:5.2f}".format(
            *map(statistics.median, zip(*rows, strict=True))
        )
    )


if __name__ == "__main__":
    main()
