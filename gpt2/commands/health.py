"""`gpt2 health`: is this run normal?"""

from __future__ import annotations

import argparse
import dataclasses

from gpt2.commands.arguments import add_run
from gpt2.errors import RunError
from gpt2.files import strict_json
from gpt2.run.folder import Run
from gpt2.run.health import Facts, Summary, judge
from gpt2.run.metrics import history
from gpt2.terminal import one_line

HELP = "say what is wrong with a run, why, and what to do; exit code 1 if anything is"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_run(parser, "run folder, of a training that has ended or not")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    found = Run.open(args.run)
    config = found.read_config()
    facts = Facts.of(config.model, config.training)
    summary = Summary(facts, history(found.metrics, skipped=True))
    if summary.step is None:
        raise RunError(f"{found.metrics} has no row yet")
    verdicts = judge(summary)
    problems = [verdict for verdict in verdicts if verdict.is_problem]
    if args.json:
        about = {"run": str(found.folder), "step": summary.step, "steps": facts.steps, "healthy": not problems}
        print(strict_json(about | {"verdicts": [dataclasses.asdict(verdict) for verdict in verdicts]}))
        return bool(problems)
    print(f"{one_line(str(found.folder))}: step {summary.step} of {facts.steps}")
    for verdict in verdicts:
        print(f"  {verdict.level:8}{verdict.name}: {verdict.seen}")
        if verdict.is_problem:
            print(f"          likely: {verdict.cause}\n          try:    {verdict.remedy}")
    print(f"{len(problems)} problem{'s' * (len(problems) != 1)}" if problems else "healthy")
    return bool(problems)
