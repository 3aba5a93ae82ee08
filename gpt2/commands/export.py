"""`gpt2 export`: a trained model for other programs."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from gpt2.commands.arguments import add_model, add_weights, given_model
from gpt2.commands.parser import place
from gpt2.errors import RunError
from gpt2.files import naming
from gpt2.run.card import card
from gpt2.run.folder import Run, is_hugging_face
from gpt2.weights import int8
from tinygrad2.files import write_anew

HELP = "write a trained model as a Hugging Face GPT-2 folder"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_model(parser, "run folder")
    add_weights(parser)
    parser.add_argument("--out", type=place, required=True, help="folder to write; it must be new or empty")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    model, tokenizer = given_model(args)
    out = Path(args.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"--out {out}: is not an empty folder; choose another, or empty it")
    described = ""
    if not is_hugging_face(args.run):
        described = card(Run(Path(args.run)), str(out), tokenizer, args.best, not int8.is_int8(model))
    model.save_pretrained(out, tokenizer)
    if described:
        with naming(out / "README.md"):
            write_anew(out / "README.md", described.encode("utf-8", "replace"))
    print(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
    if not int8.is_int8(model) and model.lm_head.bias is not None and model.lm_head.bias.data.any():
        untied = ", which is no longer tied to the embedding" if model.config.tie_embeddings else ""
        print(f"  the head's bias is now part of its matrix{untied}; the logits are the same")
    if unused := model.config.vocab_size - tokenizer.vocab_size:
        print(f"  ids without a token, left out: {unused:,}")
    if int8.is_int8(model):
        print("its weights are int8, which transformers does not read:")
        print(f'  gpt2 sample {shlex.quote(str(out))} --prompt "The"')
        return 0
    print("to load it with transformers:")
    print(f"  model = AutoModelForCausalLM.from_pretrained({str(out)!r})")
    print(f"  tokenizer = AutoTokenizer.from_pretrained({str(out)!r})")
    return 0
