"""`gpt2 lab`: the backward pass of a trained run as a page, to watch, to predict and to diagnose."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gpt2.commands.arguments import (
    add_language,
    add_model,
    add_prompt,
    given_model,
    given_prompt,
    in_run,
    out_of,
    overflow_noted,
)
from gpt2.commands.parser import natural, place
from gpt2.errors import ConfigError, NonFiniteError
from gpt2.model import GPT2
from gpt2.terminal import one_line
from gpt2.tokenizers import Tokenizer
from tinygrad2.language import translation
from tinygrad2.types import Array

HELP = "write a page to watch, predict and diagnose the backward pass of a run"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_model(parser, "run folder")
    add_prompt(parser, "text to compute the loss of (default: one that the model writes)", required=False)
    parser.add_argument("--tokens", type=natural, default=6, help="how many tokens of it to take (default 6)")
    parser.add_argument("--inside", default="h.0", help="module to show whole as long as the page has room (default h.0)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the cases of diagnose (default 0)")
    parser.add_argument("--cases", type=natural, default=12, help="most cases of diagnose (default 12)")
    parser.add_argument("--out", type=place, help="HTML file to write (default lab.html in the run folder)")
    add_language(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from tinygrad2 import study  # which takes a while to load

    model, tokenizer = given_model(args)
    model.eval()
    if args.inside not in dict(model.named_modules()):
        raise ConfigError(f"--inside {args.inside}: no such module; the blocks are h.0 to h.{model.config.num_layers - 1}")
    given = args.prompt is not None or args.prompt_file is not None
    for name in ("special", "skip_unknown", "encoding") if not given else ():
        if getattr(args, name, False):
            flag = f"--{name.replace('_', '-')}"
            where, fix = ("--prompt-file", "") if name == "encoding" else ("a prompt", "give --prompt, or ")
            raise ConfigError(f"{flag} is for {where}: {fix}leave it out")
    if not args.cases:
        raise ConfigError("--cases 0: must be at least 1")
    ids = _ids(model, tokenizer, given_prompt(args, tokenizer)[1] if given else None, args.tokens)
    with study.record(), np.errstate(over="ignore", invalid="ignore"):
        loss = model.loss(ids[None, :-1], ids[None, 1:])
    if not np.isfinite(loss.item()):
        raise NonFiniteError(f"the loss of this model is {loss.item()}: its training diverged (see gpt2 health)")
    text = tokenizer.decode(ids)
    about = f"{len(ids) - 1} tokens of {text!r}, {model.config.num_layers} layers of width {model.config.d_model}"
    with out_of(args.out, in_run(args.run, "lab.html")) as path, overflow_noted():
        title = one_line(f"The loss of {Path(args.run).name}")
        tokens = [one_line(tokenizer.decode([i])).replace(" ", "␣") for i in ids[:-1]]
        size = study.lab(loss, path, title, about, args.inside, tokens=tokens, seed=args.seed, cases=args.cases)
    print(translation("tinygrad2.study.lab")(f"{path}: {size / 1e6:.2f} MB; open it in a browser"))
    return 0


def _ids(model: GPT2, tokenizer: Tokenizer, given: Array | None, count: int) -> Array:
    """The tokens and one more, which the last of them is to predict. Raises ConfigError for a count that does not do."""
    most = model.config.max_seq_len
    if not 1 <= count <= most:
        raise ConfigError(f"--tokens {count}: must be 1 to max_seq_len = {most}")
    if given is None:
        return model.generate(np.zeros(1, int), count, temperature=1.0, vocab_size=tokenizer.vocab_size)
    if len(given) < 2:
        raise ConfigError("the prompt has fewer than 2 tokens, so nothing is predicted from it; give more text")
    return given[: count + 1]
