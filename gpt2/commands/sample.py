"""`gpt2 sample`: let a trained model write."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from gpt2.commands.arguments import add_model, add_prompt, add_weights, given_model, given_prompt
from gpt2.commands.parser import natural
from gpt2.errors import ConfigError, DataError
from gpt2.files import strict_json
from gpt2.generation import NextToken, Sampling, TextStream, steps
from gpt2.model import GPT2
from gpt2.terminal import note
from gpt2.tokenizers import Tokenizer
from gpt2.tokenizers.base import END_OF_TEXT, SURROGATE
from gpt2.training.memory import free_bytes, free_memory

HELP = "let a trained model write"
CANDIDATES = 5


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_model(parser, "run folder, or a Hugging Face GPT-2 folder")
    add_weights(parser)
    add_prompt(parser, f'text to continue; "" begins a document, if the tokenizer has {END_OF_TEXT}')
    parser.add_argument("--tokens", type=natural, default=200, help="how many tokens to write at most (default 200)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 always takes the likeliest token (default 0.8)")
    parser.add_argument("--top-k", type=int, help="choose among the K likeliest tokens only")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest tokens that reach probability P")
    parser.add_argument("--min-p", type=float, help="choose among tokens at least P times as likely as the likeliest")
    parser.add_argument(
        "--repetition-penalty", type=float, default=1.0, help="above 1 makes tokens that were used less likely (default 1)"
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="stop when this text is written; may be repeated"
    )
    parser.add_argument("--samples", type=natural, default=1, help="samples to write, with seeds S, S + 1, ... (default 1)")
    parser.add_argument("--seed", type=natural, default=0, help="S: decides every random choice (default 0)")
    parser.add_argument("--slide", type=int, default=1, help="tokens to forget at once when the context is full (default 1)")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--explain", action="store_true", help="show what each token was chosen from")
    shown.add_argument("--json", action="store_true", help="print each sample as a JSON object on its own line")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if "" in args.stop:
        raise ConfigError('--stop "" is empty: give the text to end at, or leave it out')
    for stop in args.stop:
        if SURROGATE.search(stop):
            raise ConfigError(f"--stop {stop!r} is not UTF-8, so no model writes it: leave it out")
    sampling = Sampling(args.temperature, args.top_k, args.top_p, args.min_p, args.repetition_penalty)
    model, tokenizer = given_model(args)
    sampling = replace(sampling, vocab_size=tokenizer.vocab_size)
    prompt, ids = given_prompt(args, tokenizer)
    if not len(ids):
        if tokenizer.end_of_text is None:
            raise DataError("the prompt is empty: give a text to continue")
        ids = np.array([tokenizer.end_of_text])
        note(f"the prompt is empty: the model begins a document, after {END_OF_TEXT}")
    context = model.config.max_seq_len
    if len(ids) > context:
        note(f"the prompt has {len(ids)} tokens: the model sees only the last {context}, its context")
    if not args.samples:
        raise ConfigError("--samples 0: must be at least 1")
    _check_fits(model, args.samples, len(ids), args.tokens)
    made = steps(model, np.tile(ids, (args.samples, 1)), args.tokens, sampling, args.seed, args.slide)
    if args.explain:
        return _explain(made, tokenizer, args.stop, args.seed)
    if args.samples == 1 and not args.json:
        return _stream(prompt, made, tokenizer, args.stop)
    settings = {name: getattr(args, name) for name in ("run", "best", "tokens", "slide", "stop")} | asdict(sampling)
    for i, (text, tokens) in enumerate(_written(made, tokenizer, args.stop, args.samples)):
        if args.json:
            about = {"prompt": prompt, "text": text, "tokens": tokens, "seed": args.seed + i, "settings": settings}
            print(strict_json(about))
        else:
            print(f"--- seed {args.seed + i}\n{prompt}{text}\n")
    return 0


KEPT = 1000
"""Bytes of the text and the lists of a sample, about."""


def _check_fits(model: GPT2, samples: int, prompt: int, tokens: int) -> None:
    """Raise ConfigError for samples that cannot fit: they are written together."""
    c = model.config
    cache = 8 * c.num_layers * c.d_model * min(c.max_seq_len, prompt + tokens)
    needed = samples * (cache + 8 * (prompt + tokens) + 12 * c.vocab_size + KEPT)
    if needed > min(free_bytes().values(), default=needed):
        raise ConfigError(
            f"--samples {samples} takes more than {needed / 2**20:,.0f} MiB, and {free_memory()}: write fewer at once"
        )


def _stream(prompt: str, made: Iterator[NextToken], tokenizer: Tokenizer, stops: list[str]) -> int:
    text = TextStream(tokenizer, stops)
    print(prompt, end="", flush=True)
    try:
        for step in made:
            print(text.feed(int(step.tokens[0])), end="", flush=True)
            if text.stopped:
                break
    finally:
        print(text.finish())
    return 0


def _written(made: Iterator[NextToken], tokenizer: Tokenizer, stops: list[str], count: int) -> list[tuple[str, list[int]]]:
    """Of each sample the text, and the tokens that were drawn for it, with those at which it ended."""
    texts = [TextStream(tokenizer, stops) for _ in range(count)]
    written, drawn = [""] * count, [list[int]() for _ in range(count)]
    for step in made:
        for i, token in enumerate(step.tokens.tolist()):
            if not texts[i].stopped:
                written[i] += texts[i].feed(token)
                drawn[i].append(token)
        if all(text.stopped for text in texts):
            break
    return [(text + stream.finish(), tokens) for text, stream, tokens in zip(written, texts, drawn, strict=True)]


def _explain(made: Iterator[NextToken], tokenizer: Tokenizer, stops: list[str], seed: int) -> int:
    """A line per token."""
    print("P is the model's probability, draw the probability it was drawn with; candidates in (brackets) were cut off.")
    texts: dict[int, TextStream] = {}
    for step in made:
        for row, token in enumerate(step.tokens):
            text = texts.setdefault(row, TextStream(tokenizer, stops))
            if not text.stopped:
                text.feed(int(token))
                of = f"seed {seed + row}  " if len(step.tokens) > 1 else ""
                print(of + _why(tokenizer, int(token), step.logits[row], step.p[row]))
        if all(text.stopped for text in texts.values()):
            break
    return 0


def _why(tokenizer: Tokenizer, token: int, logits: np.ndarray[Any, Any], p: np.ndarray[Any, Any]) -> str:
    """What was chosen, how likely it was to the model and in the draw, and the likeliest candidates."""
    of_model = np.exp(logits.astype(np.float64) - float(logits.max()))
    of_model /= of_model.sum()
    candidates = []
    for i in np.argsort(-of_model, kind="stable")[:CANDIDATES].tolist():
        shown = f"{_show(tokenizer, i)} {of_model[i]:.1%}"
        candidates.append(shown if p[i] > 0 else f"({shown})")
    return (
        f"{_show(tokenizer, token):<14} P {of_model[token]:6.1%}  draw {p[token]:6.1%} from {np.count_nonzero(p):>5} of "
        f"{len(p)} holding {of_model[p > 0].sum():6.1%} | {'  '.join(candidates)}"
    )


def _show(tokenizer: Tokenizer, token: int) -> str:
    """A token as a Python literal; one that is not whole characters as its bytes, and an id that is none by its number."""
    if token >= tokenizer.vocab_size:
        return f"#{token}"
    raw = tokenizer.token_bytes(token)
    try:
        return repr(raw.decode())
    except UnicodeDecodeError:
        return repr(raw)
