"""`gpt2 export`: a trained model for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from gpt2.commands.arguments import add_model, given_model
from gpt2.errors import RunError
from gpt2.tokenizers import BPETokenizer

HELP = "write a trained model as a Hugging Face GPT-2 folder"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_model(parser, "run folder")
    parser.add_argument("--out", required=True, help="folder to write; it must be new or empty")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    model, tokenizer = given_model(args)
    out = Path(args.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"--out {out}: is not an empty folder; choose another, or empty it")
    model.save_pretrained(out)
    if isinstance(tokenizer, BPETokenizer):
        tokenizer.save_pretrained(out)
        note = "tokenizer.json, vocab.json and merges.txt"
    else:
        tokenizer.save(out / "tokenizer.json")
        note = "tokenizer.json (of this program: Hugging Face has no tokenizer of this kind)"
    print(f"{out}: config.json, model.safetensors ({model.num_parameters():,} parameters), {note}")
    return 0
