"""`gpt2 eval`: how well a trained model predicts a text."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.commands.arguments import (
    add_form,
    add_model,
    add_skip,
    add_weights,
    given_model,
    offering_to_skip,
    read_as,
    read_like,
    told,
)
from gpt2.commands.parser import natural
from gpt2.errors import ConfigError, DataError, RunError
from gpt2.files import strict_json
from gpt2.insight.evaluation import Evaluation, coloured, evaluate, legend, longest_match
from gpt2.model import GPT2
from gpt2.run.description import Description
from gpt2.run.folder import Run, is_hugging_face
from gpt2.run.plots import loss_text
from gpt2.run.text import text_of_run
from gpt2.terminal import note, one_line, styled
from gpt2.text.corpora import Corpus, load_corpus
from gpt2.text.encoding import IN_MEMORY, prepare, prepare_whole, without_strangers
from gpt2.tokenizers import Tokenizer
from gpt2.training.shards import Shards
from tinygrad2.errors import counted
from tinygrad2.types import Array

HELP = "compute the loss of a trained model on its validation text, or on another text"
SAMPLES, TOKENS = 5, 200


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_model(parser, "run folder, or a Hugging Face GPT-2 folder (which needs --data)")
    add_weights(parser)
    parser.add_argument(
        "--data",
        action="append",
        help="another text, as for train, used whole; may be repeated (default: what validates of the run's text)",
    )
    add_form(parser)
    add_skip(parser)
    parser.add_argument("--stride", type=int, help="tokens between the windows (default: the context, so that none overlap)")
    parser.add_argument("--per-token", action="store_true", help="show the text, each token in the colour of its loss")
    parser.add_argument("--memorised", action="store_true", help="let the model write, and find what it copied from its text")
    parser.add_argument("--tokens", type=natural, help=f"length of each text for --memorised (default {TOKENS})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.tokens is not None and not (args.memorised and args.tokens):
        fix = "must be at least 1" if args.memorised else "is for --memorised: leave it out"
        raise ConfigError(f"--tokens {args.tokens}: {fix}")
    if args.memorised and (args.per_token or args.stride is not None):
        raise ConfigError("--memorised takes no --per-token and no --stride: leave them out")
    model, tokenizer = given_model(args)
    context = model.config.max_seq_len
    stride = context if args.stride is None else args.stride
    if not 1 <= stride <= context:
        raise ConfigError(f"--stride {args.stride} must be in 1..{context}, the context")
    trained = None if is_hugging_face(args.run) else Run(Path(args.run)).read_config()
    if trained is None and args.memorised:
        raise DataError(f"--memorised: {args.run} is not a run, and does not say what it was trained on: leave it out")
    if trained is None and args.data is None:
        raise DataError(f"{args.run}: is not a run, and names no text: give --data")
    if trained is not None and (args.data is None or args.memorised):
        fix = "; --data evaluates another text, without --memorised" if args.data is not None else ""
        corpus = text_of_run(args.run, trained, args.data, read_as(args, trained.training), fix=fix)
    else:
        form = read_like(
            args, trained.training if trained else None, args.data, lambda form: _only(load_corpus(args.data, form))
        )
        corpus = load_corpus(args.data, form)
    told(corpus)
    if args.memorised:
        return _memorised(args, model, tokenizer, corpus)
    floor: dict[str, float] = {}
    if trained is None or corpus.sha256 != trained.corpus.sha256:
        with offering_to_skip():
            text = prepare_whole(without_strangers(corpus, tokenizer) if args.skip_unknown else corpus, tokenizer)
        val = text.val
        floor = _floor(args.run, trained, tokenizer, val, context)
    else:  # the text it was trained on: its validation part, as training evaluates it, in whole windows
        if args.data is not None:
            note(f"{corpus.name} is the text that the model was trained on: only its validation part is evaluated")
        text = prepare(corpus, tokenizer, trained.training, context)
        floor = dict(text.baselines)
        val = text.val[: (len(text.val) - 1) // context * context + 1]
    if len(val) < 2:
        raise DataError(f"{corpus.name}: has {counted(len(val), 'token')}; give at least 2, one to predict the next from")
    costs = text.costs()
    if costs is not None:
        floor["perfect"] = float(costs[1 : len(val)].mean())
    with Shards(0, 0, max(1, len(val) // context)) as shards:
        found = evaluate(model, tokenizer, val, stride, shards)
    if args.json:
        print(strict_json(_as_json(found, corpus, floor, tokenizer if args.per_token else None)))
    elif args.per_token:
        _show(found, tokenizer)
    else:
        _print(found, corpus, floor, context, stride)
    return 0


def _only(corpus: Corpus) -> Iterator[str]:
    """The text, where no file of it was left out. Raises DataError."""
    if corpus.notes:
        raise DataError(corpus.notes[0])
    return corpus.pieces()


def _floor(folder: str, trained: Description | None, tokenizer: Tokenizer, val: Array, context: int) -> dict[str, float]:
    """Baselines on another text: counts of the run's own text, where that is short and still there; or only a uniform guess."""
    if trained and trained.corpus.characters <= IN_MEMORY and len(val) > 1:
        with contextlib.suppress(DataError, RunError):
            own = prepare(text_of_run(folder, trained), tokenizer, trained.training, context, lambda _: None)
            return replace(own, val=val).baselines
    return {"uniform": math.log(tokenizer.vocab_size)}


def _as_json(found: Evaluation, corpus: Corpus, floor: dict[str, float], tokenizer: Tokenizer | None) -> dict[str, Any]:
    about: dict[str, Any] = {
        "data": corpus.name,
        "tokens": len(found.losses),
        "bytes": found.bytes,
        "loss": found.loss,
        "perplexity": found.perplexity,
        "bits_per_byte": found.bits_per_byte,
        **floor,
    }
    if tokenizer is not None:
        tokens = (tokenizer.decode([i]) for i in found.ids[1:].tolist())
        about["per_token"] = [[token, round(nats, 6)] for token, nats in zip(tokens, found.losses.tolist(), strict=True)]
    return about


def _print(found: Evaluation, corpus: Corpus, floor: dict[str, float], context: int, stride: int) -> None:
    apart = "" if stride == context else f", {stride} apart"
    sizes = f"{counted(len(found.losses), 'token')}, {counted(found.bytes, 'byte')}"
    windows = 1 + -(-max(0, len(found.losses) - context) // stride)
    print(f"{one_line(corpus.name)}: {sizes}, in all {counted(windows, 'window')} of {context}{apart}")
    perplexity = loss_text(found.perplexity)
    print(f"  loss {found.loss:.4f} nats per token, perplexity {perplexity}, {found.bits_per_byte:.4f} bits per byte")
    for name, value in floor.items():
        above = f": the loss is {found.loss - value:.4f} above it" if name == "perfect" else ""
        print(f"  {'a perfect model' if name == 'perfect' else f'{name} baseline'} {value:.4f}{above}")


def _show(found: Evaluation, tokenizer: Tokenizer) -> None:
    """In colour on a terminal; elsewhere a line per token, its loss first."""
    if sys.stdout.isatty():
        styled(legend() + "\n")
        styled("".join(coloured(tokenizer, found)))
    else:
        for token, nats in zip(found.ids[1:].tolist(), found.losses, strict=True):
            print(f"{nats:.4f}\t{_quoted(tokenizer.token_bytes(token))}")


def _quoted(token: bytes) -> str:
    """A token as Python writes it: a text or, of one that is no whole characters, the bytes."""
    try:
        return repr(token.decode())
    except UnicodeDecodeError:
        return repr(token)


def _memorised(args: argparse.Namespace, model: GPT2, tokenizer: Tokenizer, corpus: Corpus) -> int:
    """Of several texts that the model writes, the longest part of each that stands in the text it was trained on."""
    first = tokenizer.encode(next(corpus.pieces())[:1])[:1]
    prompts = np.tile(first, (SAMPLES, 1))
    tokens = args.tokens or TOKENS
    made = model.generate(prompts, tokens, temperature=0.8, seed=0, vocab_size=tokenizer.vocab_size)
    report = []
    for row in made[:, 1:]:
        sample = tokenizer.decode(row)
        report.append({"characters": len(sample), "match": longest_match(sample, corpus.pieces())})
    if args.json:
        print(strict_json({"data": corpus.name, "samples": report}))
        return 0
    print(f"{SAMPLES} texts of {tokens} tokens at temperature 0.8, and the longest copy of {one_line(corpus.name)} in each:")
    for seed, found in enumerate(report):
        print(f"  seed {seed}: {len(str(found['match']))} of {found['characters']} characters: {found['match']!r}")
    return 0
