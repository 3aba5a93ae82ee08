"""`gpt2 inspect`: one page about how a trained model reads a text."""

from __future__ import annotations

import argparse
from importlib import resources
from typing import Any

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
from gpt2.commands.parser import place
from gpt2.errors import DataError
from gpt2.files import strict_json
from gpt2.insight.evaluation import COLOURS
from gpt2.insight.inspection import Histograms, Inspection, Similarity, check_length, inspect
from gpt2.model import GPT2
from gpt2.tokenizers import Tokenizer
from gpt2.training.measurements import DEAD
from tinygrad2.files import write_anew
from tinygrad2.language import script, translation
from tinygrad2.types import Array

HELP = "write a page that shows how a model reads a text: attention, logit lens, losses, gradients"

TITLE = b"<title>gpt2 inspect</title>"
"""What a page has that may be overwritten."""

VISIBLE = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥"})


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_model(parser, "run folder, or a Hugging Face GPT-2 folder")
    add_prompt(parser, "text to read, at most the context")
    parser.add_argument(
        "--out", type=place, help="HTML file to write (default inspect.html in the run folder; none with --json)"
    )
    parser.add_argument("--json", action="store_true", help="print what the page shows as one JSON object")
    add_language(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    model, tokenizer = given_model(args)
    prompt, ids = given_prompt(args, tokenizer)
    if not len(ids):
        raise DataError("the prompt is empty: give a text")
    try:
        check_length(model, len(ids))
    except DataError as error:
        raise DataError(f"the prompt: {error}") from None
    with overflow_noted():
        found = inspect(model, ids, tokenizer.vocab_size)
    about = {"run": args.run, "prompt": prompt, **contents(model, tokenizer, found)}
    if args.out or not args.json:
        with out_of(args.out, in_run(args.run, "inspect.html")) as path:
            write_anew(path, page(about).encode(errors="backslashreplace"), TITLE)  # \\udcff is JSON, too
    say = translation("gpt2.insight")
    print(strict_json(about) if args.json else say(f"{path}: {path.stat().st_size / 1e6:.2f} MB; open it in a browser"))
    return 0


def page(about: dict[str, Any], name: str = "inspection") -> str:
    """A whole page as HTML: this one, or another that is drawn with the same; `about` goes into it as JSON."""
    folder = resources.files("gpt2.insight")

    def read(*files: str) -> str:
        return "\n".join((folder / file).read_text("utf-8") for file in dict.fromkeys(files))

    parts = {
        "@style@": read("inspection.css", f"{name}.css"),
        "@end@": read("drawing.html"),
        "@script@": f"{script('gpt2.insight')}\n{read('drawing.js', f'{name}.js')}",
        "@data@": strict_json(about, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    html = read(f"{name}.html")
    for mark, part in parts.items():  # the data last, for a prompt may hold anything
        html = html.replace(mark, part)
    return html


def contents(model: GPT2, tokenizer: Tokenizer, found: Inspection) -> dict[str, Any]:
    """What the page shows, rounded: of everything (T, T), only what the mask lets through."""
    c, blocks = model.config, [f"h.{i}" for i in range(model.config.num_layers)]
    stages = ["embedding", *blocks]
    residual, gelu, scores = found.residual, found.gelu, found.scores
    return {
        "parameters": model.num_parameters(),
        "vocab_size": c.vocab_size,
        "context": c.max_seq_len,
        "blocks": blocks,
        "tokens": [label(tokenizer, i) for i in found.ids.tolist()],
        "losses": _rounded(found.losses),
        "limits": [limit for limit, _ in COLOURS[:-1]],
        "candidates": _candidates(tokenizer, found),
        "lens": [{"name": name, **_lens(tokenizer, found, i)} for i, name in enumerate(stages)],
        "attention": [[_triangle(weights) for weights in heads] for heads in found.attention],
        "entropy": _rounded(found.entropy),
        "wte": _similarity(found.wte, [label(tokenizer, i) for i in found.wte.rows.tolist()]),
        "wpe": _similarity(found.wpe, [str(i) for i in found.wpe.rows.tolist()]),
        "activations": [
            {"name": "residual stream", "blocks": stages, "mark": 0, **_histograms(residual)},
            {"name": "inputs of the activation function", "blocks": blocks, "mark": DEAD[c.architecture], **_histograms(gelu)},
            {"name": "attention logits", "blocks": blocks, "mark": 0, **_histograms(scores)},
        ],
    }


def label(tokenizer: Tokenizer, token: int) -> str:
    """A token so that it can be seen: blanks as signs, and bytes that are no whole character as escapes."""
    if token >= tokenizer.vocab_size:  # some models have more rows than their tokenizer has tokens
        return f"#{token}"
    text = tokenizer.token_bytes(token).decode("utf-8", "backslashreplace").translate(VISIBLE)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _lens(tokenizer: Tokenizer, found: Inspection, stage: int) -> dict[str, Any]:
    """For each position the likeliest tokens and their probabilities, and whether the first of them is what came next."""
    tokens, p = found.lens.tokens[stage], _rounded(found.lens.p[stage])
    return {
        "likeliest": [
            [[label(tokenizer, i), q] for i, q in zip(*pair, strict=True)] for pair in zip(tokens.tolist(), p, strict=True)
        ],
        "hits": (tokens[:-1, 0] == found.ids[1:]).tolist(),
        "next_p": _rounded(found.lens.next_p[stage]),
    }


def _candidates(tokenizer: Tokenizer, found: Inspection) -> list[list[dict[str, Any]]]:
    """For each position the tokens whose logits were differentiated, the likeliest first."""
    g = found.gradients
    by_position: list[list[dict[str, Any]]] = [[] for _ in found.ids]
    for n, (t, token) in enumerate(zip(g.positions.tolist(), g.tokens.tolist(), strict=True)):
        by_position[t].append(
            {
                "token": label(tokenizer, token),
                "p": float(f"{found.p[n]:.4g}"),
                "next": t + 1 < len(found.ids) and token == int(found.ids[t + 1]),
                "logit": float(f"{g.logits[n]:.5g}"),
                "norms": [float(f"{x:.4g}") for x in g.norms[n, : t + 1]],
                "signed": [float(f"{x:.4g}") for x in g.signed[n, : t + 1]],
            }
        )
    return by_position


def _rounded(values: Array) -> Any:
    """Four decimals, as lists."""
    return np.round(values.astype(np.float64), 4).tolist()


def _triangle(matrix: Array) -> list[list[float]]:
    """The rows of (T, T) up to the diagonal."""
    return [row[: i + 1] for i, row in enumerate(_rounded(matrix))]


def _similarity(found: Similarity, labels: list[str]) -> dict[str, Any]:
    return {"labels": labels, "cosines": _triangle(found.cosines)}


def _histograms(found: Histograms) -> dict[str, Any]:
    return {"edges": _rounded(found.edges), "counts": found.counts.tolist(), "stds": _rounded(found.stds)}
