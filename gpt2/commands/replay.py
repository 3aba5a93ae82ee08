"""`gpt2 replay`: go back to any step of a run, take it again, and look at it, or change one thing from there on; or a film."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.commands.arguments import add_form, add_language, add_run, in_run, out_of, overflow_noted, read_as, told
from gpt2.commands.foreign import FLAGS_OF
from gpt2.commands.inspect import label, page
from gpt2.commands.parser import VALUES, natural
from gpt2.config import TrainConfig
from gpt2.errors import ConfigError, DataError, RunError
from gpt2.files import naming, strict_json
from gpt2.insight.film import FULL, SEED, TEMPERATURE, Frame, chosen, fitting, frame
from gpt2.run.checkpoints import Checkpoints
from gpt2.run.folder import Run
from gpt2.run.metrics import history
from gpt2.run.series import Bins, Thinned
from gpt2.run.text import text_of_run
from gpt2.terminal import note
from gpt2.tokenizers import load_tokenizer
from gpt2.training.replay import CHANGEABLE, Replayed, moments, replay
from tinygrad2.errors import counted
from tinygrad2.files import atomic_file, check_kind, write_anew
from tinygrad2.language import translation

HELP = "compute a step of a run again, bit for bit, or go on from it with another setting; or show a training as a film"
STEPS = 20

TITLE = b"<title>gpt2 replay --film</title>"
"""What a page has that may be overwritten."""

MOST_BYTES = 10_000_000
"""Of a page."""

TOKENS, PROMPT, CURVE = 60, 32, 1024
"""Of a film: how many tokens are written, and read if there is no prompt; and the points at most of the training loss."""

OF_A_FILM = ("prompt", "frames", "tokens", "language")
OF_A_STEP = ("set", "steps", "json")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_run(parser, "run folder")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--step", type=natural, help="the step to compute again; the first is 1")
    which.add_argument(
        "--film",
        action="store_true",
        help="write a page that plays the training from its checkpoints: attention, gradients by layer, how a prompt is "
        "continued, loss",
    )
    parser.add_argument(
        "--data", action="append", help="the run's text, if it came through a pipe or was moved; may be repeated"
    )
    add_form(parser)
    parser.add_argument(
        "--out",
        help="with --step: write its batch and gradients to this .npz file; with --film: the "
        "page (default film.html in the run folder)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="train on from that step with this setting, such as lr=1e-3",
    )
    parser.add_argument("--steps", type=natural, help=f"with --set: for how many steps (default {STEPS})")
    parser.add_argument("--json", action="store_true", help="with --step: print one JSON object")
    parser.add_argument(
        "--frames",
        type=natural,
        metavar="N",
        help="with --film: N moments, evenly spread over the steps; what has no checkpoint is computed again, bit for bit, "
        "which takes as long as the training did without its evaluations (default: the beginning, and every checkpoint)",
    )
    parser.add_argument(
        "--prompt",
        help=f"with --film: the text to read and to continue (default: the first {PROMPT} tokens of the validation text)",
    )
    parser.add_argument(
        "--tokens", type=natural, help=f"with --film: how many tokens to write after it at most (default {TOKENS})"
    )
    add_language(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    wrong, kind = (OF_A_STEP, "--step") if args.step is None else (OF_A_FILM, "--film")
    for name in wrong:
        if getattr(args, name) not in (None, False, []):
            raise ConfigError(f"--{name} is for {kind}: leave it out")
    if args.out is not None and not args.out.strip():
        raise ConfigError("--out is empty: give a file, or leave it out")
    return _film(args) if args.step is None else _step(args)


def _step(args: argparse.Namespace) -> int:
    if args.steps is not None and not (args.set and args.steps):
        raise ConfigError(f"--steps {args.steps}: {'must be at least 1' if args.set else 'is for --set: leave it out'}")
    run = Run.open(args.run)
    now = run.read_config()
    then = now.at(args.step)
    trained = now if now.corpus.sha256 == then.corpus.sha256 else then  # the last that was told where it is
    count = (args.steps or STEPS) if args.set else 1
    last, recorded = 0, {}
    for logged in history(run.metrics):
        last = logged["step"]
        if args.step <= last < args.step + count and "train_loss" in logged:
            recorded[last] = logged["train_loss"]
    if not 1 <= args.step <= last:
        raise ConfigError(f"--step {args.step}: the run has steps 1 to {last}")
    if args.step not in recorded:
        raise RunError(f"{args.run}: the log has no training loss of step {args.step}")
    changes = _changes(args.set, then.training)
    corpus = told(text_of_run(args.run, trained, args.data, read_as(args, trained.training)))
    found = replay(run, corpus, args.step, changes, count)
    same = found.row["train_loss"] == recorded[args.step]
    if args.out:
        args.out = args.out if args.out.endswith(".npz") else args.out + ".npz"
        _write(Path(args.out), found)
    if args.json:
        about = {"step": args.step, "row": found.row, "bit_for_bit": same, "changed": found.after, "ended": found.ended}
        print(strict_json(about))
    else:
        _print(args, found, recorded, same)
    return 0 if same else 1


def _film(args: argparse.Namespace) -> int:
    """Write the page: 1 if what is computed differs from the log, as of a step."""
    run = Run.open(args.run)
    with out_of(args.out, in_run(args.run, "film.html")) as path:  # before long work
        os.listdir(path.parent)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        check_kind(path, b"<!doctyp", TITLE)
    about = _contents(args, run)
    html = page(about, "film").encode(errors="backslashreplace")
    if len(html) > MOST_BYTES:
        most = f"{MOST_BYTES / 1e6:.0f}"
        raise DataError(f"the page would have {len(html) / 1e6:.1f} MB, and may have {most}: give fewer --tokens or --frames")
    with out_of(args.out, path):
        write_anew(path, html, TITLE)
    print(translation("gpt2.insight")(f"{path}: {len(html) / 1e6:.2f} MB; open it in a browser"))
    return 1 if about["differ"] else 0


def _contents(args: argparse.Namespace, run: Run) -> dict[str, Any]:
    """What the page shows: see film.js."""
    config = run.read_config()
    train, val, logged = Bins(2, CURVE), Thinned[list[float]](CURVE), dict[int, float]()
    for row in history(run.metrics):
        if "train_loss" in row:
            logged[row["step"]] = row["train_loss"]
            train.add(row["step"], row["train_loss"])
        if math.isfinite(row.get("val_loss", math.nan)):
            val.add([row["step"], row["val_loss"]])
    tokenizer, context = load_tokenizer(run.tokenizer), config.model.max_seq_len
    ids = None if args.prompt is None else tokenizer.encode(args.prompt)
    if ids is not None and not 1 <= len(ids) <= context:
        raise DataError(f"the prompt: {counted(len(ids), 'token')}, and the context is {context}: give 1 to {context}")
    steps = _moments(args, run, max(logged, default=0))
    length = min(PROMPT, context) if ids is None else len(ids)
    count, heads = fitting(len(steps), config.model.num_layers, config.model.num_heads, length)
    tokens = TOKENS if args.tokens is None else args.tokens
    corpus = told(text_of_run(args.run, config, args.data, read_as(args, config.training)))
    frames, differ = list[Frame](), list[int]()
    with overflow_noted():
        for trainer, text in moments(run, corpus, chosen(steps, count), note):
            if ids is None:
                ids = text.val[:length].astype(int)
            frames.append(frame(trainer, tokenizer, ids, tokens, heads))
            if frames[-1].loss != logged.get(trainer.steps + 1, frames[-1].loss):
                differ.append(trainer.steps)
    assert ids is not None
    return {
        "run": args.run,
        "parameters": config.parameters,
        "steps": max(logged),
        "prompt": args.prompt or tokenizer.decode(ids),
        "tokens": [label(tokenizer, i) for i in ids.tolist()],
        "new_tokens": tokens,
        "temperature": TEMPERATURE,
        "seed": SEED,
        "losses": {"train": train.table().tolist(), "val": val.values()},
        "width": train.width,
        "layers": list(frames[0].norms),
        "heads": heads,
        "full": FULL,
        "all_heads": config.model.num_layers * config.model.num_heads,
        "all_frames": len(steps),
        "frames": [
            {**asdict(f), "norms": list(f.norms.values()), "relative": [float(f"{x:.4g}") for x in f.relative.values()]}
            for f in frames
        ],
        "differ": differ,
    }


def _moments(args: argparse.Namespace, run: Run, last: int) -> list[int]:
    """After which steps the film shows the training. Raises RunError where there is nothing to show."""
    if not last:
        raise RunError(f"{args.run}: the log has no step yet: train it first")
    if args.frames is not None:
        if args.frames < 2:
            raise ConfigError(f"--frames {args.frames}: must be at least 2")
        return sorted({round(step) for step in np.linspace(0, last, min(args.frames, last + 1)).tolist()})
    kept = [step for step in Checkpoints(run.checkpoints).steps() if step <= last]
    if not kept:
        raise RunError(f"{args.run}: holds no checkpoints; --frames 20 computes 20 moments again, as long as the training took")
    if len(kept) < 8:
        note(
            f"{args.run} holds {counted(len(kept), 'checkpoint')}: --frames 20 computes what is between them again, and "
            "gpt2 train --save-every N --keep-every N keeps more"
        )
    return sorted({0, *kept})


def _write(path: Path, found: Replayed) -> None:
    """The batch and the gradients, whole or not at all. Raises RunError."""
    arrays: dict[str, Any] = {f"grad.{name}": g for name, g in found.gradients.items()}
    with naming(f"--out {path}"):
        check_kind(path, b"PK")  # an .npz file is a zip archive
        with atomic_file(path) as file:
            np.savez(file, inputs=found.batch[0], targets=found.batch[1], **arrays)


def _changes(given: list[str], config: TrainConfig) -> dict[str, Any]:
    """`NAME=VALUE` as settings. Raises ConfigError for a name that cannot change, or a value that it cannot have."""
    changes: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = FLAGS_OF.get(name.replace("_", "-"), [f"--{name}"])[0].removeprefix("--").replace("-", "_")
        if not equals:
            raise ConfigError(f"--set {text}: is not NAME=VALUE")
        if name not in CHANGEABLE:
            there = ", ".join(CHANGEABLE)
            raise ConfigError(f"--set {text}: {name!r} cannot change in the middle of a run; choose from {there}")
        if name in changes:
            raise ConfigError(f"--set {text}: {name} is set twice")
        kind = type(getattr(config, name))
        try:
            changes[name] = VALUES.get(kind, kind)(value)
        except argparse.ArgumentTypeError as error:
            raise ConfigError(f"--set {text}: {error}") from None
    dataclasses.replace(config, **changes)  # checks them
    return changes


def _print(args: argparse.Namespace, found: Replayed, recorded: dict[int, float], same: bool) -> None:
    was = recorded[args.step]
    print(f"step {args.step}, from {found.began}: loss {found.row['train_loss']!r}")
    why = "another machine, an older version that did not record every change of settings, or a bug"
    print("  equal to the log, bit for bit" if same else f"  the log says {was!r}: {why}")
    print(f"  learning rate {found.row['learning_rate']:.4g}, gradient norm {found.row['grad_norm']:.4g} before clipping")
    print(f"  the batch begins: {found.text!r}")
    norms = {name: float(np.linalg.norm(g.ravel())) for name, g in found.gradients.items()}
    print("  the largest gradients, before clipping:")
    for name in sorted(norms, key=lambda n: -norms[n])[:8]:
        print(f"    {norms[name]:10.4g}  {name}")
    if args.out:
        print(f"  batch and gradients: {args.out}")
    if args.set:
        print(f"with {', '.join(args.set)} from step {args.step} on:")
        print(f"{'step':>8} {'was':>10} {'is':>10} {'difference':>11}")
        for row in found.after:
            if "skipped" in row:
                print(f"{row['step']:>8} skipped: {row['skipped']}")
                continue
            before = recorded.get(row["step"])
            old, difference = ("-", "-") if before is None else (f"{before:.5f}", f"{row['train_loss'] - before:+.5f}")
            print(f"{row['step']:>8} {old:>10} {row['train_loss']:>10.5f} {difference:>11}")
        if found.ended:
            print(f"it ends here: {found.ended}")
