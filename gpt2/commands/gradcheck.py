"""`gpt2 gradcheck`: are all gradients of the model right?"""

from __future__ import annotations

import argparse

from gpt2.commands.arguments import add_language
from gpt2.commands.parser import natural
from gpt2.commands.settings import add_settings, given_settings, part_of
from gpt2.config import GPT2Config
from gpt2.insight.gradient_check import SMALL, check_model

HELP = "compare every gradient of a small model with finite differences"
PRESET = "tiny"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("--seed", type=natural, default=0, help="seed of the weights and the data (default 0)")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="one random direction through each parameter instead of every entry, also for larger sizes",
    )
    add_language(parser)
    about = "preset that decides ties, biases and initialisation; the sizes stay small unless given"
    add_settings(parser, PRESET, GPT2Config, about=about, without=("dropout",), **SMALL)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    given = given_settings(args)
    preset = given.pop("preset", PRESET)
    config = GPT2Config.preset(preset, **{**SMALL, **part_of(GPT2Config, given)})
    what = "one random direction through each parameter" if args.fast else "every entry of every parameter"
    print(
        f"{preset} at {config.num_layers} layers, {config.num_heads} heads, d_model {config.d_model}, context "
        f"{config.max_seq_len}, vocabulary {config.vocab_size}; float64, {what}"
    )
    result = check_model(config, args.seed, args.fast)
    print(result)
    return 0 if result.verdict == "right" else 1
