"""How a command line is read: as it was meant where that is certain, and else refused in one line that says what to write."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gpt2.commands.foreign import FLAGS_OF, SENTENCE_OF
from gpt2.run.folder import near
from gpt2.terminal import one_line

BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def boolean(text: str) -> bool:
    """`true` or `false`, and other words for them."""
    if text.lower() not in BOOLEANS:
        raise argparse.ArgumentTypeError(f"{text!r} must be true or false")
    return BOOLEANS[text.lower()]


def number(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        fix = f", such as {text.replace(',', '.')}" if text.count(",") == 1 and _is_number(text.replace(",", ".")) else ""
        raise argparse.ArgumentTypeError(f"{text!r} must be a number{fix}") from None


def integer(text: str) -> int:
    """A whole number; 1e3 is one, too."""
    try:
        return int(text)
    except ValueError:
        if _is_number(text) and float(text).is_integer():
            return int(float(text))
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number") from None


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        if (value := integer(text)) >= 0:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 or more")


def place(text: str) -> str:
    """The name of a file or a folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: give a name, or leave it out")
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


VALUES: dict[type, Any] = {bool: boolean, int: integer, float: number}
"""How a value of a type is read. Raises ArgumentTypeError."""


class Bare(argparse.Action):
    """A flag whose value may also stand alone: a run, or a text. All values must be the same, unless there may be `several`."""

    def __init__(self, *args: Any, several: bool = False, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.several = several

    def __call__(self, parser: Any, namespace: argparse.Namespace, value: Any, option_string: str | None = None) -> None:
        """Take one value more."""
        before = getattr(namespace, self.dest, None)
        if self.several:
            value = [*(before or []), value]
        elif before is not None and Path(before) != Path(value):
            flags = [
                flag for flag in ("--prompt", "--data", "--out") if flag in parser.flags and flag not in self.option_strings
            ]
            fix = f"; for anything else, use a flag: {', '.join(flags)}" if flags else ""
            parser.error(f"{before!r} and {value!r} are both given as {self.metavar}{fix}")
        setattr(namespace, self.dest, value)


class Wide(argparse.HelpFormatter):
    """With room for long flags."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


class Parser(argparse.ArgumentParser):
    """An argument parser that knows what people mean, and says what is wrong in one line."""

    others: Mapping[str, Parser] = {}
    """All commands, by name."""

    runs: Sequence[str] = ()
    """Those that are given."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"formatter_class": Wide, **settings})
        for kind, read in VALUES.items():
            self.register("type", kind, read)

    @property
    def flags(self) -> Mapping[str, argparse.Action]:
        """What each flag does."""
        return self._option_string_actions

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse does, of the words as it would have them written."""
        words = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(words if self._subparsers else self._written_out(words), namespace)

    def _written_out(self, words: list[str]) -> list[str]:
        """`a.txt --n_embd 8 --prompt -x` as `--data=a.txt --d-model=8 --prompt=-x`. Ends with what is said of unknown flags.

        argparse would take `-x` for a flag, even where none has its name, and would ask for flags that are missing before it
        says that one is unknown.
        """
        bare = self._bare()
        written, renamed, wrong, rest = [], {}, [], deque(words)
        while rest:
            word = rest.popleft()
            if word == "--":
                written += [f"{bare}={value}" for value in rest] if bare else ["--", *rest]
                break
            name, equals, value = word.partition("=")
            if not self._is_flag(name):
                written.append(f"{bare}={word}" if bare else word)
                continue
            flag = self._ours(name)
            if flag is None:
                wrong.append(self.hint(name))
                continue
            foreign = flag not in (name, name.replace("_", "-"))
            takes = self.flags[flag].nargs
            if not equals and takes is None and rest and not self._is_ours(rest[0].partition("=")[0]):
                equals, value = "=", rest.popleft()
            elif not equals and takes == "?":
                equals, value = "=", rest.popleft() if rest and rest[0].lower() in BOOLEANS else "true"
            if foreign and flag == "--prompt" and value.startswith("FILE:"):  # nanoGPT's
                flag, value = "--prompt-file", value.removeprefix("FILE:")
            if foreign:
                renamed[name] = flag
            if f"{flag[2:]}={value}" in SENTENCE_OF:
                wrong.append(f"{flag} {value}: {SENTENCE_OF[f'{flag[2:]}={value}']}")
            if takes == 0 and equals:
                wrong.append(f"{flag} takes no value: write {flag}, not {word!r}")
            written.append(f"{flag}{equals}{value}")
        if {"-h", "--help"} & {*written}:  # whatever else is wrong
            return [word for word in written if word.startswith("--preset=")] + ["--help"]
        if wrong:
            self.exit(2, "".join(f"{self.prog}: error: {why}\n" for why in wrong))
        if renamed:
            said = ", ".join(f"{name} is {flag}" for name, flag in renamed.items())
            print(f"{self.prog}: note: here {said}", file=sys.stderr)
        self.runs = [word.removeprefix("--run=") for word in written if word.startswith("--run=")]
        return written

    def _bare(self) -> str | None:
        """The flag whose value may stand alone."""
        return next((flag for flag, action in self.flags.items() if isinstance(action, Bare)), None)

    def _is_flag(self, name: str) -> bool:
        """Whether argparse takes it for a flag."""
        return name[:1] == "-" and len(name) > 1 and " " not in name and not self._negative_number_matcher.match(name)

    @staticmethod
    def _plain(name: str) -> str:
        return name.replace("_", "-") if name.startswith("--") else name

    def _is_ours(self, name: str) -> bool:
        """Whether a word behind a flag is another one, and not its value: `-n` may be what a model is to write."""
        return name in self.flags or (name.startswith("--") and self._ours(name) is not None)

    def _ours(self, name: str) -> str | None:
        """The flag of this command that a word stands for, whoever's word it is."""
        plain = self._plain(name)
        word = plain.lstrip("-")
        ours = (plain, *FLAGS_OF.get(self._here(word), ()), *FLAGS_OF.get(word, ()))
        return next((flag for flag in ours if flag in self.flags), None)

    def _here(self, word: str) -> str:
        """A word as one of this command alone."""
        return f"{self.prog.split()[-1]}:{word}"

    def hint(self, name: str) -> str:
        """What to say of a flag that this command does not have."""
        word = name.lstrip("-").replace("_", "-")
        if sentence := SENTENCE_OF.get(self._here(word), SENTENCE_OF.get(word)):
            return f"{name}: {sentence}"
        if f"--{word}" in self.flags:
            return f"unknown argument {name!r}; did you mean --{word}?"
        for flag in (f"--{word}", *FLAGS_OF.get(word, ())):
            for command, parser in self.others.items():
                if flag in parser.flags:
                    return f"unknown argument {name!r}; gpt2 {command} has {flag}"
        plain = f"--{word.removeprefix('no-')}"
        if plain in self.flags and self.flags[plain].const is True and self.flags[plain].nargs == "?":
            return f"unknown argument {name!r}; write {plain} false"
        near = difflib.get_close_matches(word, [flag[2:] for flag in self.flags if flag.startswith("--")], 1, 0.75)
        return f"unknown argument {name!r}" + (f"; did you mean --{near[0]}?" if near else f" (see {self.prog} --help)")

    def format_help(self) -> str:
        """With what is needed alone in the first line."""
        if not self._subparsers:
            needed = [self.prog]
            for action in self._actions:
                value = str(action.metavar or action.dest.upper())
                if isinstance(action, Bare):
                    needed.append((value if action.required else f"[{value}]") + " ..." * action.several)
                elif not action.option_strings:
                    needed.append(f"[{value}]" if action.nargs == "?" else value)
                elif action.required:
                    needed.append(f"{action.option_strings[0]} {value}")
            self.usage = " ".join([*needed, "[options]"])
        return super().format_help()

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """`--prompt=--` is a value, too: argparse drops it before Python 3.13."""
        if action.nargs is None and action.option_strings and arg_strings == ["--"]:
            return self._get_value(action, "--")
        return super()._get_values(action, arg_strings)

    def error(self, message: str) -> NoReturn:
        missing = "the following arguments are required: "
        if message.startswith((missing, "one of the arguments ")):
            for run in self.runs:
                if not os.path.lexists(run):  # before what else is missing
                    self.exit(2, one_line(f"{self.prog}: error: {run}: no such folder{near(Path(run))}") + "\n")
        if message.startswith(missing) and (bare := self._bare()):
            message = message.replace(bare, str(self.flags[bare].metavar), 1)
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")
