"""`gpt2 --completion SHELL`: what a shell must know to complete the words of a command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from gpt2.commands.parser import Bare, place

SHELLS = ("bash", "zsh", "tcsh")


class Completion(argparse.Action):
    """The flag: it prints the script, and ends. Completing with it starts no Python."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        what = 'print what completes the words of this command: eval "$(gpt2 --completion bash)" in the shell\'s start-up file'
        super().__init__(option_strings, argparse.SUPPRESS, choices=SHELLS, help=what)

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Print, and end."""
        try:
            import shtab
        except ImportError:
            parser.error("completion needs shtab: pip install 'tinygrad2[completion]'")
        for one in (parser, *_commands(parser)):
            if any(isinstance(action, Bare) for action in one._actions):  # which stands without its flag, too
                one.add_argument("bare", nargs="*")
            for action in one._actions:
                if not action.choices and action.nargs != 0 and action.type in (None, str, place):  # it may be a file
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, values))
        parser.exit()


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of its commands, and of theirs."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield one
                yield from _commands(one)
