"""`gpt2 health`: is this run normal?"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys

from gpt2.commands.arguments import add_language, add_run
from gpt2.errors import RunError
from gpt2.files import strict_json
from gpt2.run.folder import Run
from gpt2.run.health import Summary, judge
from gpt2.run.metrics import history
from gpt2.terminal import one_line, wrapped
from tinygrad2.errors import counted
from tinygrad2.language import padded, translation

HELP = "say what is wrong with a run, why, and what to do; exit code 1 if anything is"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    add_run(parser, "run folder, also while it trains")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_language(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    found = Run.open(args.run)
    config = found.read_config()
    summary = Summary(config.model, config.training, history(found.metrics, skipped=True))
    if summary.step is None:
        raise RunError(f"{found.metrics} has no step yet; wait for the first one")
    verdicts, steps = judge(summary), config.training.steps
    problems = [verdict.name for verdict in verdicts if verdict.is_problem]
    if args.json:
        healthy = not problems and (True if summary.learned else None)
        about = {"run": str(found.folder), "step": summary.step, "steps": steps, "healthy": healthy}
        print(strict_json(about | {"verdicts": [dataclasses.asdict(verdict) for verdict in verdicts]}))
        return bool(problems)
    say = translation("gpt2.run.health")
    print(f"{one_line(str(found.folder))}: {say(f'step {summary.step} of {steps}; losses in nats per token')}")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    indent = " " * 12
    for verdict in verdicts:
        for line, begin in zip(verdict.lines(say), (padded(f"  {say(verdict.level)}", 10), indent, indent), strict=False):
            print(wrapped(line, width, begin, indent))
    if problems:
        print(f"{say(counted(len(problems), 'problem'))}: {', '.join(map(say, problems))}")
    elif summary.learned:
        print(say("healthy" if summary.step >= steps else "healthy so far"))
    else:
        end = "too early to say: nothing is wrong, but the model has learned too little to judge; train longer: --steps"
        print(say(end))
    return bool(problems)
