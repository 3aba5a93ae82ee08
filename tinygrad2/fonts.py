"""Chinese, Japanese and Korean letters in pictures: matplotlib's own font has none, and the machine often has one that does."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CJK = (
    *("NotoSansCJK-Regular", "NotoSansSC", "NotoSansCJKsc", "SourceHanSans", "PingFang", "Hiragino Sans GB", "STHeiti", "msyh"),
    *("simhei", "wqy-microhei", "wqy-zenhei", "NotoSansCJK", "DroidSansFallback", "Arial Unicode", "NotoSerifCJK"),
)
"""How the files of such fonts begin that come with Linux, macOS and Windows; the first that is there is taken."""


@functools.cache
def for_cjk() -> list[str]:
    """The name of a font with these letters, if the machine has one.

    The files are looked for, since matplotlib remembers for ever which there were when it was first used.
    """
    from matplotlib.font_manager import findSystemFonts, fontManager

    files = sorted(findSystemFonts())
    for begin in CJK:
        for path in files:
            if Path(path).name.startswith(begin):
                with contextlib.suppress(OSError, RuntimeError):  # not a font that matplotlib reads
                    fontManager.addfont(path)
                    return [fontManager.ttflist[-1].name]
    return []


def legible(draw: Callable[P, T]) -> Callable[P, T]:
    """A function that draws with matplotlib, so that letters which the usual font lacks are drawn with `for_cjk`."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib

        with matplotlib.rc_context({"font.family": [*matplotlib.rcParams["font.family"], *for_cjk()]}):
            return draw(*args, **kwargs)

    return wrapped
