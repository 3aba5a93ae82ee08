"""The `gpt2` command, also as `python -m gpt2`: what surrounds it in a process of its own."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # signal makes enums of it, for longer than all of this takes
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def main() -> int:
    """Run the command line of this process; returns its exit code. From here on, Ctrl-C shows no traceback."""
    ends_at_once = signal.getsignal(signal.SIGINT) == signal.default_int_handler
    if ends_at_once:  # else somebody wants it ignored, as a shell does in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is to be put in order yet
    handled = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) == signal.SIG_DFL]
    sys.excepthook = lambda kind, *about: _report(kind, lambda: sys.__excepthook__(kind, *about))
    sys.unraisablehook = lambda about: _report(about.exc_type, lambda: sys.__unraisablehook__(about))
    _open_all_three()
    from gpt2 import cli  # takes a while

    try:
        for number in handled:
            signal.signal(number, _interrupt)
        return cli.main()
    except KeyboardInterrupt as interrupt:
        return 128 + (interrupt.args or (signal.SIGINT,))[0]
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first Ctrl-C or termination ends what is going on in order, the second at once."""
    sys.modules["gpt2.training.interrupts"].raised = number  # type: ignore[attr-defined]  # cli has loaded it
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt(number)


def _report(kind: type[BaseException], show: Callable[[], object]) -> None:
    """Show a traceback, as printable text; none of a Ctrl-C, which ends the process wherever it came.

    In the middle of the import of a compiled module it becomes an ImportError.
    """
    number = getattr(sys.modules.get("gpt2.training.interrupts"), "raised", 0)
    if number or issubclass(kind, KeyboardInterrupt):
        signal.signal(number or signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), number or signal.SIGINT)
        return
    from gpt2 import terminal

    with terminal.guarded():
        show()


def _open_all_three() -> None:
    """Where a standard stream is closed, its number must not become that of a file of the run."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_WRONLY), True)  # to read from it fails
    sys.stdin = sys.stdin or os.fdopen(0)


if __name__ == "__main__":
    sys.exit(main())
