"""`gpt2 sample`: let a trained model write."""

from __future__ import annotations

import argparse
import sys

from gpt2 import generation
from gpt2.commands.arguments import natural
from gpt2.errors import DataError
from gpt2.runs import Run

HELP = "let a trained model write"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("--run", required=True, help="run folder")
    parser.add_argument("--prompt", required=True, help="text to go on from")
    parser.add_argument("--tokens", type=natural, default=200, help="how many tokens to write (default 200)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 is greedy (default 0.8)")
    parser.add_argument("--top-k", type=int, help="choose among the K likeliest tokens only")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest tokens that reach probability P")
    parser.add_argument("--seed", type=natural, default=0, help="decides every random choice (default 0)")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    generation.check_sampling(args.temperature, args.top_k, args.top_p)
    model, tokenizer = Run.open(args.run).load_model()
    if not args.prompt:
        raise DataError('--prompt "" is empty: the model needs a first token to go on from')
    ids = tokenizer.encode(args.prompt)
    context = model.config.max_seq_len
    if len(ids) > context:
        print(
            f"gpt2 sample: note: the prompt has {len(ids)} tokens and the context {context}: "
            f"the model sees only the last {context}",
            file=sys.stderr,
        )
    new = model.generate(ids, args.tokens, args.temperature, args.top_k, args.top_p, args.seed)[len(ids) :]
    print(args.prompt + tokenizer.decode(new))
    return 0
