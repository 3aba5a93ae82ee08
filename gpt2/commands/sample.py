"""`gpt2 sample`: let a trained model write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gpt2.commands.arguments import add_model, add_special, encoded, given_model, natural
from gpt2.errors import ConfigError, DataError
from gpt2.generation import NextToken, Sampling, TextStream, steps
from gpt2.tokenizers import Tokenizer

HELP = "let a trained model write"
CANDIDATES = 5


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_model(parser, "run folder, or a Hugging Face GPT-2 folder")
    parser.add_argument("--prompt", required=True, help="text to go on from")
    parser.add_argument("--tokens", type=natural, default=200, help="how many tokens to write at most (default 200)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 is greedy (default 0.8)")
    parser.add_argument("--top-k", type=int, help="choose among the K likeliest tokens only")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest tokens that reach probability P")
    parser.add_argument("--min-p", type=float, help="choose among tokens at least P times as likely as the likeliest")
    parser.add_argument(
        "--repetition-penalty", type=float, default=1.0, help="above 1 makes used tokens unlikelier (default 1)"
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end where this is written; may be repeated"
    )
    parser.add_argument("--samples", type=natural, default=1, help="how many to write, with seeds S, S + 1, ... (default 1)")
    parser.add_argument("--seed", type=natural, default=0, help="S: decides every random choice (default 0)")
    parser.add_argument("--slide", type=int, default=1, help="tokens forgotten at once where the context is full (default 1)")
    add_special(parser)
    parser.add_argument("--explain", action="store_true", help="show what each token was chosen from")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if "" in args.stop:
        raise ConfigError('--stop "" is empty: give the text to end at, or leave it out')
    sampling = Sampling(args.temperature, args.top_k, args.top_p, args.min_p, args.repetition_penalty)
    model, tokenizer = given_model(args)
    sampling = replace(sampling, vocab_size=tokenizer.vocab_size)
    ids = encoded(tokenizer, args.prompt, args.special)
    if not len(ids):
        raise DataError('--prompt "" is empty: the model needs a first token to go on from')
    context = model.config.max_seq_len
    if len(ids) + args.tokens > context:
        print(f"gpt2 sample: note: {_beyond(len(ids), args.tokens, context)}", file=sys.stderr)
    if not args.samples:
        raise ConfigError("--samples 0: must be at least 1")
    prompts = np.tile(ids, (args.samples, 1))
    made = steps(model, prompts, args.tokens, sampling, args.seed, args.slide)
    if args.explain:
        return _explain(made, tokenizer, args.stop, args.seed)
    if args.samples == 1:
        return _stream(args.prompt, made, tokenizer, args.stop)
    return _several(args.prompt, made, tokenizer, args.stop, args.seed, args.samples)


def _beyond(prompt: int, tokens: int, context: int) -> str:
    if prompt > context:
        return f"the prompt has {prompt} tokens and the context {context}: the model sees only the last {context}"
    return f"{prompt + tokens} tokens, prompt included, are beyond the context of {context}: the oldest will be forgotten"


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


def _several(prompt: str, made: Iterator[NextToken], tokenizer: Tokenizer, stops: list[str], seed: int, count: int) -> int:
    texts = [TextStream(tokenizer, stops) for _ in range(count)]
    written = [""] * count
    for step in made:
        for i, token in enumerate(step.tokens):
            written[i] += texts[i].feed(int(token))
        if all(text.stopped for text in texts):
            break
    for i, text in enumerate(texts):
        print(f"--- seed {seed + i}\n{prompt}{written[i]}{text.finish()}\n")
    return 0


def _explain(made: Iterator[NextToken], tokenizer: Tokenizer, stops: list[str], seed: int) -> int:
    """A line per token."""
    print("P is the model's probability, draw the one it was drawn with; candidates in (brackets) were cut off.")
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
