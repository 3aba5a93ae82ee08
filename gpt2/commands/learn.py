"""`gpt2 learn`: the course, from a slope to a GPT-2 on one's own engine."""

from __future__ import annotations

import argparse

from gpt2.commands.parser import Bare, natural, place

HELP = "build it yourself: exercises from a slope to a GPT-2, and a check that knows which mistake was made"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    about = (
        "start [FOLDER], check [NUMBER ...], hint NUMBER, lab NUMBER, grade FOLDER ..., solutions FOLDER; without any, show "
        "how far you are"
    )
    parser.add_argument("--action", action=Bare, several=True, default=[], metavar="ACTION", help=about)
    parser.add_argument("--folder", type=place, help="your folder (default: this one, or course)")
    parser.add_argument("--language", default="en", help="of the exercises: en or zh (default en)")
    parser.add_argument("--watch", action="store_true", help="check: check each file again when it is saved, until Ctrl-C")
    parser.add_argument("--seed", type=natural, help="of the inputs of a check (default 0, of grade 1)")
    parser.add_argument("--out", type=place, help="lab: HTML file to write (default NAME.html in your folder)")
    parser.add_argument("--json", action="store_true", help="check, grade: print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from gpt2.course import actions  # which takes a while to load

    return actions.run(args)
