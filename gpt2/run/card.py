"""The model card of an exported run: README.md, as model hubs show it (Mitchell et al., 2019)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence

from gpt2.run.folder import Run, best_step
from gpt2.run.metrics import Recorded, history
from gpt2.run.report import losses
from gpt2.terminal import one_line
from gpt2.tokenizers import Tokenizer
from tinygrad2 import __version__
from tinygrad2.errors import counted


def card(run: Run, out: str, tokenizer: Tokenizer, best: bool = False, is_read: bool = True) -> str:
    """What a model was trained on, how, and how well it predicts; for a folder `out` that transformers can read, or not.

    The losses are those of the last evaluation, or, where the weights are the `best`, of the one with the lowest loss. Raises
    RunError.
    """
    about = run.read_config()
    evaluation = _evaluation(run, best) if run.metrics.exists() else None
    model, training, corpus = about.model, about.training, about.corpus
    head = {
        "library_name": "transformers" if is_read else "tinygrad2",
        "pipeline_tag": "text-generation",
        "tags": ["gpt2", "tinygrad2"],
    }
    blocks, heads = counted(model.num_layers, "block"), counted(model.num_heads, "head")
    batches = f"{counted(training.steps, 'step')} of {counted(training.batch_size, 'sequence')}"
    versions = {"tinygrad2": __version__, **about.versions}
    facts = [
        ("text", f"{_code(corpus.name)}, {corpus.characters:,} characters, sha256 {_code(corpus.sha256)}"),
        ("held out", f"{training.val_fraction:.0%} of it, from the end"),
        ("tokens", f"{_code(training.tokenizer)}, {tokenizer.vocab_size:,} of them"),
        ("size", f"{blocks} of width {model.d_model}, {heads}, context {model.max_seq_len}"),
        ("training", f"{batches}, {_code(training.optimizer)}"),
        ("made by", _code(", ".join(f"{name} {version}" for name, version in versions.items()))),
    ]
    began = f"further from {_code(training.init_from)}" if training.init_from else "from the beginning"
    parts = [
        "---\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items()) + "---",
        f"# {_code(run.folder.absolute().name)}",
        f"A GPT-2 of {about.parameters:,} parameters, trained {began} on one text. It is small: it writes what looks like that "
        "text, and knows nothing else.",
        _table(("", ""), facts),
    ]
    if evaluation:
        which = "with the lowest loss" if best else "at the end"
        parts += [
            f"## Losses {which}",
            f"On the part that was held out, after step {evaluation['step']:,}, beside what simple models need for it:",
            _table(
                ("", "nats per token", "bits per byte"),
                ((name if name.isidentifier() else _code(name), *values) for name, *values in losses(evaluation)),
            ),
        ]
    if is_read:
        lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
        lines += [
            f"model = AutoModelForCausalLM.from_pretrained({out!r})",
            f"tokenizer = AutoTokenizer.from_pretrained({out!r})",
        ]
        parts += ["## Use", _fenced("python", lines)]
    else:
        parts += ["## Use", _fenced("sh", [f'gpt2 sample {shlex.quote(out)} --prompt "The"'])]
    if about.command[:1] == ["train"] and "--resume" not in about.command:
        parts += ["## Make it again", _fenced("sh", [shlex.join(["gpt2", *map(one_line, about.command)])])]
    parts += [
        "## Limits",
        "Nothing but the loss was measured. What it writes may repeat its text, with all that is wrong or private in it. "
        "Nothing here says under which licence that text is.",
    ]
    return "\n\n".join(parts) + "\n"


def _evaluation(run: Run, best: bool) -> Recorded | None:
    """The row of the last evaluation, or of the one that `--best` means."""
    step = best_step(history(run.metrics)) if best else None
    found: Recorded | None = None
    for row in history(run.metrics):
        if "val_loss" in row and step in (None, row["step"]):
            found = row
    return found


def _code(text: str) -> str:
    """A name of the run, which is no Markdown."""
    return f"`{one_line(text).replace('`', chr(39)).replace('|', '/')}`"


def _fenced(language: str, lines: Sequence[str]) -> str:
    fence = "`" * (3 + max((line.count("`") for line in lines), default=0))
    return "\n".join([f"{fence}{language}", *lines, fence])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))
