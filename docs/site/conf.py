"""The site of `make docs`, built by Sphinx of the pages as they are in the repository, and of the docstrings of public names.

It is opened without a server or a network: build/site/index.html.
"""

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.search import languages
from sphinx.search.en import SearchEnglish

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

project = html_title = "tinygrad2 and gpt2"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/*.rst", "docs/zh/*.md", "experiments/**/README*.md", "tests/mutation/README.md"]
include_patterns += ["docs/reference/*.rst"]  # which autosummary writes
default_role = "code"  # docstrings have names `like_this`
autodoc_default_options = {"members": True, "member-order": "bysource"}
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"
html_theme = "furo"
html_show_copyright = html_show_search_summary = False  # a summary would need a server
html_search_language = "both"

CONTENTS = """

```{toctree}
:hidden:
:glob:
:caption: Guides

docs/learning-path
docs/tinygrad2
docs/train-on-your-own-text
docs/*
```

```{toctree}
:hidden:
:glob:
:caption: Experiments

experiments/**/README
tests/mutation/README
```

```{toctree}
:hidden:
:glob:
:caption: 中文

README.zh
docs/zh/*
experiments/**/README.zh
```

```{toctree}
:hidden:
:glob:
:caption: Project

[A-Z]*
```
"""
"""Stands at the end of the README."""

CHINESE = re.compile(r"[\u3400-\u9fff]+")


class Both(SearchEnglish):
    """English words by their stems; of Chinese each two letters that are neighbours, so that no dictionary is needed."""

    lang = "both"
    js_splitter_code = """
    function splitQuery(query) {
        const words = query.split(/[^\\p{Letter}\\p{Number}_]+/gu).flatMap((word) => word.split(/([\\u3400-\\u9fff]+)/));
        return words.filter(Boolean).flatMap((word) => /[\\u3400-\\u9fff]/.test(word) && word.length > 2
            ? Array.from(word.slice(1), (letter, i) => word[i] + letter) : [word]);
    }"""

    def split(self, text: str) -> list[str]:
        words = super().split(CHINESE.sub(" ", text))
        for run in CHINESE.findall(text):
            words += [run[i : i + 2] for i in range(max(1, len(run) - 1))]
        return words


def follow_folders(app: Sphinx, name: str, source: list[str]) -> None:
    """A link to a folder leads to what explains it; the README has the contents of the site."""

    def file_of(link: re.Match[str]) -> str:
        folder = (ROOT / name).parent / link[2]
        if not folder.is_dir():
            return link[0]
        there = [file for file in ("README.md", "__init__.py", "build.py") if (folder / file).is_file()]
        return f"[{link[1]}]({link[2]}/{there[0]})" if there else link[1]

    source[0] = re.sub(r"\[([^][]+)\]\(([\w./-]+)\)", file_of, source[0]) + (CONTENTS if name == root_doc else "")


def as_it_is(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code`: a star is a star, and an indented line, or one with columns, stays a line."""
    lines[:] = "\n\n".join(map(_markup, "\n".join(lines).split("\n\n"))).split("\n")


def _markup(paragraph: str) -> str:
    rows = paragraph.split("\n")
    if any(row.lstrip().startswith(">>>") for row in rows):
        return paragraph if rows[0].lstrip().startswith(">>>") else "\n".join([rows[0], "", *rows[1:]])
    rows = [re.sub(r"(`[^`]*`|\*\w+\*)|([*|\\])", lambda m: m[1] or "\\" + m[2], row) for row in rows]
    indents = [len(row) - len(row.lstrip()) for row in rows]
    columns = any(re.search(r"\S {3,}\S", row) for row in rows)
    if rows[0].startswith("- ") or not (columns or any(indents[1:])):
        return "\n".join(rows)
    at = 0 if columns else min(indent for indent in indents if indent)  # where a line begins; further in it goes on
    told: list[str] = []
    for row, indent in zip(rows, indents, strict=True):
        if indent == at:
            told += [""] if told and told[-1][0] not in "| " else []  # after what leads to them
            told += ["| " + re.sub(r"^([\w, ]+?)(?: {3,}|: )", r"``\1``: ", row.strip())]
        else:
            told += ["  " * (indent > at) + row.strip()]
    return "\n".join(told)


def leave_out(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """The function `tinygrad2.gradcheck` where its module, of the same name, is not described."""
    return True if name == "gradcheck" and app.env.docname == "docs/reference/tinygrad2" else None


def show_math(translator: Any, node: nodes.Element) -> None:
    """As MathML, which browsers draw themselves; a script that draws it would be megabytes, or on another host."""
    text = re.sub(r"\\[Bb]ig\b", "", node.astext())  # parentheses grow of themselves
    translator.body.append(tex2mathml(text, as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def name_language(app: Sphinx, name: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """For what reads a page aloud, and for fonts."""
    context["language"] = "zh-CN" if name.endswith(".zh") or "/zh/" in name else "en"


def open_readme(app: Sphinx, error: Exception | None) -> None:
    """What a server and people open first."""
    leads = (
        f'<!doctype html><meta charset="utf-8"><title>{project}</title><meta http-equiv="refresh" content="0; url=README.html">'
    )
    Path(app.outdir, "index.html").write_text(leads, "utf-8")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    languages["both"] = Both
    app.add_html_math_renderer("mathml", (show_math, None), (show_math, None))
    app.connect("source-read", follow_folders)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-docstring", as_it_is)
    app.connect("html-page-context", name_language)
    app.connect("build-finished", open_readme)
