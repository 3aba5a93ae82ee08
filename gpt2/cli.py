"""The command line: which commands there are, and how a failure ends. Each command is a file in commands/."""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence

from gpt2 import terminal
from gpt2.commands import (
    bench,
    evaluate,
    export,
    gradcheck,
    health,
    info,
    inspect,
    lab,
    learn,
    plot,
    replay,
    runs,
    sample,
    tokenize,
    train,
)
from gpt2.commands.completion import Completion
from gpt2.commands.foreign import COMMAND_OF
from gpt2.commands.parser import Parser
from gpt2.commands.settings import given_settings
from gpt2.commands.version import Version
from gpt2.config import TrainConfig
from gpt2.errors import GPT2Error
from gpt2.training.interrupts import hangups_ignored
from gpt2.training.memory import free_memory
from gpt2.training.mpi import comm
from tinygrad2.context import within
from tinygrad2.errors import TinygradError
from tinygrad2.language import LANGUAGE

COMMANDS = {
    "train": train,
    "sample": sample,
    "eval": evaluate,
    "inspect": inspect,
    "lab": lab,
    "learn": learn,
    "health": health,
    "runs": runs,
    "plot": plot,
    "replay": replay,
    "export": export,
    "tokenize": tokenize,
    "info": info,
    "gradcheck": gradcheck,
    "bench": bench,
}


TOGETHER = ("train", "bench")
"""The commands that several processes run as one."""

LASTING = ("train",)
"""The commands whose result is in files: they go on when nobody is there any more to see what they say."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 1 for a failed check, 2 for bad input, 130 when interrupted."""
    with terminal.guarded():
        try:
            try:
                code = _main(argv)
            except SystemExit:  # --help has been shown, or an error
                sys.stdout.flush()
                raise
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # the reader of our output has gone, as in `gpt2 info | head`
            return 0
        except terminal.OutputError as error:
            print(f"gpt2: error: {error}", file=sys.stderr)
            return 2


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        parser.print_help(sys.stderr)
        return 2
    args, left = parser.parse_known_args(_asked(words, parser))
    if left:
        fix = "; put a text of several words in quotes" if "text" in args else f" (see gpt2 {args.verb} --help)"
        print(f"gpt2 {args.verb}: error: unexpected {left[0]!r}{fix}", file=sys.stderr)
        return 2
    return _together(args) if args.verb in TOGETHER else _run(args)


def _asked(words: list[str], parser: Parser) -> list[str]:
    """`help train` and `train help` as `train --help`. Ends where no command comes first, with what there is."""
    verb = words[0]
    if (
        words[1:] == ["help"] and verb not in ("help", "tokenize") and not os.path.exists("help")
    ):  # it shows the tokens of that word
        return [verb, "--help"]
    if verb in ("help", "version"):
        return _asked([*(word for word in words[1:2] if word != "help"), "--help"] if verb == "help" else ["--version"], parser)
    if verb.startswith("-") and verb not in parser.flags:
        parser.exit(2, f"gpt2: error: {parser.hint(verb)}\n")
    if verb not in COMMANDS and not verb.startswith("-"):
        near = difflib.get_close_matches(verb, [*COMMANDS, *COMMAND_OF], 1)
        there = f"did you mean gpt2 {COMMAND_OF.get(near[0], near[0])}?" if near else f"choose from {', '.join(COMMANDS)}"
        parser.exit(2, f"gpt2: error: there is no command {verb!r}; {there}\n")
    return words


def _together(args: argparse.Namespace) -> int:
    """Run a command on all ranks that mpiexec started, if it did. Where one fails, all end; the lowest that failed says why."""
    try:
        given = given_settings(args)
        comm.join(given.get("distributed", "auto"), given.get("rank_timeout", TrainConfig.rank_timeout))
    except Exception as error:
        return _refuse(args, error)
    together = comm.current()
    if together.size == 1:
        return _run(args)
    try:
        code = _run(args)
    except BaseException as error:
        together.leave_reason(error)
        traceback.print_exc()
        code = 1
    if code and code <= 128:  # above it, a signal ended all of them in order
        together.abort(code)
    return code


def _refuse(args: argparse.Namespace, error: Exception) -> int:
    """Say why in one line. Raises the error again if it must be a mistake in this code."""
    why = _reason(error, args.verb in TOGETHER)
    if why is None:
        raise error
    together = comm.current()
    together.leave_reason(error)
    print(terminal.one_line(f"gpt2 {args.verb}: error: {together.name}{why}"), file=sys.stderr)
    return 2


def _run(args: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        if args.verb not in LASTING:
            with within(LANGUAGE, getattr(args, "language", None)):
                return command(args)
        terminal.outlive()
        with hangups_ignored():
            return command(args)
    except KeyboardInterrupt as interrupt:
        return 128 + (interrupt.args or (signal.SIGINT,))[0]
    except BrokenPipeError:
        return 0
    except Exception as error:
        return _refuse(args, error)


def _reason(error: Exception, trains: bool) -> str | None:
    """What to say, in a line, of a failure that this code expects or cannot help; None of any other."""
    match error:
        case GPT2Error() | TinygradError():
            return str(error)
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror or str(error)
        case MemoryError():
            fix = ": a smaller --batch-size, --max-seq-len or model may fit" if trains else ""
            return f"{str(error) or 'memory is used up'}; {free_memory()}{fix}"
        case RecursionError():
            return "an input is nested too deeply"
        case UnicodeError():
            return f"a name or a text is not Unicode, rename or correct it: {error}"
        case ValueError() if "embedded null" in str(error):
            return f"a name holds a NUL character: {error}"
        case RuntimeError() if str(error) == "can't start new thread":
            return f"no more threads can be started ({free_memory()}){': fewer --threads may work' if trains else ''}"
    return None


def _parser() -> Parser:
    parser = Parser(prog="gpt2", description="Train, use and check a GPT-2 built by hand on NumPy.")
    parser.add_argument("-V", "--version", action=Version)
    parser.add_argument("--completion", action=Completion)
    verbs = parser.add_subparsers(title="commands", dest="verb", required=True, metavar="COMMAND", parser_class=Parser)
    parser.others = verbs.choices
    for name, command in COMMANDS.items():
        about = command.HELP[0].upper() + command.HELP[1:] + "."
        verb = verbs.add_parser(name, help=command.HELP, description=about, allow_abbrev=False)
        command.arguments(verb)
        verb.set_defaults(command=command.run)
        verb.others = verbs.choices
    return parser
