"""`gpt2 replay`: go back to any step of a run, take it again, and look at it, or change one thing from there on."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.commands.arguments import add_form, add_run, read_as, told
from gpt2.commands.foreign import FLAGS_OF
from gpt2.commands.parser import VALUES, natural
from gpt2.config import TrainConfig
from gpt2.errors import ConfigError, RunError
from gpt2.files import naming, strict_json
from gpt2.run.folder import Run
from gpt2.run.metrics import history
from gpt2.run.text import text_of_run
from gpt2.training.replay import CHANGEABLE, Replayed, replay
from tinygrad2.files import atomic_file, check_kind

HELP = "compute a step of a run again, bit for bit: batch, loss and gradients; or go on from it with another setting"
STEPS = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_run(parser, "run folder")
    parser.add_argument("--step", type=natural, required=True, help="the step to compute again; the first is 1")
    parser.add_argument(
        "--data", action="append", help="the run's text, if it came through a pipe or was moved; may be repeated"
    )
    add_form(parser)
    parser.add_argument("--out", help="write the batch and the gradients of the step to this .npz file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="train on from that step with this setting, such as lr=1e-3",
    )
    parser.add_argument("--steps", type=natural, help=f"with --set: for how many steps (default {STEPS})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.out is not None and not args.out.strip():
        raise ConfigError("--out is empty: give a file, or leave it out")
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
