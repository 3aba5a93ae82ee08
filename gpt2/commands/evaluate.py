"""`gpt2 eval`: how well a trained model predicts a text."""

from __future__ import annotations

import argparse
import json
import math

from gpt2 import data
from gpt2.baselines import baselines
from gpt2.config import TrainConfig
from gpt2.corpora import load_corpus
from gpt2.errors import ConfigError, DataError, GPT2Error
from gpt2.executor import ShardExecutor
from gpt2.preparation import prepare, prepare_whole, to_stderr
from gpt2.runs import Run

HELP = "the loss of a trained model on its validation text, or on a file"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("--run", required=True, help="run folder")
    parser.add_argument("--data", help="a text file or corpus name, used whole; by default the run's validation part")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    run = Run.open(args.run)
    model, tokenizer = run.load_model()
    try:
        trained = TrainConfig(**run.read_config()["training"])
    except (KeyError, TypeError, ConfigError) as error:
        raise GPT2Error(f"{run.config} is damaged: {error}") from error
    context = model.config.max_seq_len
    corpus = load_corpus(args.data or trained.data)
    for note in corpus.notes:
        to_stderr(note)
    floor = {}
    if args.data:
        text = prepare_whole(corpus, tokenizer)
    else:  # the text it was trained on: its validation part
        text = prepare(corpus, tokenizer, trained, context)
        floor = baselines(text.train, text.val, tokenizer.vocab_size)
    if len(text.val) <= context:
        raise DataError(f"--data {args.data}: {len(text.val)} tokens; a context of {context} needs at least {context + 1}")
    perfect = text.perfect(context)
    if perfect is not None:
        floor["perfect"] = perfect
    batches = data.consecutive(text.val, context, max(1, 1024 // context))
    with ShardExecutor(0, 0, len(batches)) as executor:
        loss = executor.evaluate(model, batches)
    tokens = sum(targets.size for _, targets in batches)
    about = {"data": corpus.name, "tokens": tokens, "loss": loss, "perplexity": math.exp(loss), **floor}
    if args.json:
        print(json.dumps(about))
        return 0
    print(f"{corpus.name}: {tokens:,} tokens in windows of {context}")
    print(f"  loss {loss:.4f} nats per token, perplexity {math.exp(loss):.3f}")
    for name, value in floor.items():
        above = f": the loss is {loss - value:.4f} above it" if name == "perfect" else ""
        print(f"  {'a perfect model' if name == 'perfect' else f'{name} baseline'} {value:.4f}{above}")
    return 0
