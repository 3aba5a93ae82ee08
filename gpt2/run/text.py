"""The text that a run was trained on, wherever it is now."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from gpt2.errors import DataError, RunError
from gpt2.run.folder import Description, Part
from gpt2.text.corpora import NAMED, STDIN, Corpus, Form, Texts, is_read_once, load_corpus, names


def text_of_run(
    folder: str | Path,
    trained: Description | Part,
    data: Texts | None = None,
    form: Form | None = None,
    accept_changes: bool = False,
    fix: str = "",
) -> Corpus:
    """The text with the sha256 of what was trained on: `data`, if it is given; or else from one of its `places`.

    It is read in `form`, or that of the training. With `accept_changes` another text will do, where that one is not. Raises
    DataError for a text that cannot be read, and RunError that says where was looked, and what can be done: `fix` is one thing
    more.
    """
    recorded, given = trained.corpus.sha256, names(trained.training.data)
    form = form or Form.of(trained.training)
    if data is None and STDIN in given:
        again = "give it" if len(given) == 1 else "give all of its texts, in their order,"
        raise DataError(f"{folder}: its text came through a pipe and was not kept: {again} again with --data")
    if data is not None or NAMED.keys() >= set(given):
        corpus = load_corpus(given if data is None else data, form)
        if corpus.sha256 != recorded and not accept_changes:
            what = (
                f"the text of {_shown(given)} has changed"
                if data is None
                else f"--data {' and '.join(names(data))} is another text"
            )
            fix = fix or "; --data FILE names the text that it was trained on"
            raise RunError(f"{folder}: {what}: its sha256 is {corpus.sha256}, and was {recorded}{fix}")
        return corpus
    wrong: list[str] = []
    others: list[Corpus] = []
    looked = [place for place in places(Path(folder), trained) if len(place) == len(given)]
    found = [next(filter(_may_be_there, of_one), None) for of_one in zip(*looked, strict=True)]
    together = tuple(name for name in found if name is not None)
    if len(together) == len(given):  # each may have been moved alone
        looked.append(together)
    for place in dict.fromkeys(looked):
        if not all(map(_may_be_there, place)):
            continue
        try:
            corpus = load_corpus(place, form)
            if corpus.sha256 == recorded:
                return corpus
        except DataError as error:
            wrong.append(str(error))
        else:
            others.append(corpus)
            wrong.append(f"the text of {_shown(place)} has changed: its sha256 is {corpus.sha256}, and was {recorded}")
    if accept_changes and others:
        return others[0]
    lost = [i for i, name in enumerate(found) if name is None]
    if lost and not others:
        there = [repr(name) for i, name in enumerate(given) if i not in lost]
        what = f"{', '.join(repr(given[i]) for i in lost)} {'is' if len(lost) == 1 else 'are'}" if there else "its text is"
        wrong.append(f"{what} at none of these places: {', '.join(dict.fromkeys(p[i] for p in looked for i in lost))}")
        if there:
            wrong.append(f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} found")
    each = "FILE" if len(given) == 1 else "FILE, once for each of its texts in their order,"
    raise RunError(f"{folder}: {'; '.join(wrong)}; --data {each} says where it is now{fix if others else ''}")


def _shown(names: tuple[str, ...]) -> str:
    return " and ".join(map(repr, names))


def _may_be_there(name: str) -> bool:
    return name in NAMED or (not is_read_once(name) and (glob.has_magic(name) or os.path.exists(name)))


def places(folder: Path, trained: Description | Part) -> list[tuple[str, ...]]:
    """Where the files of a text may be: where they were, by the names that were given, beside the run, beside its folder."""
    given = names(trained.training.data)
    parents = Path(os.path.abspath(folder)).parents[:2]
    alone = [name if glob.has_magic(name) else Path(name).name for name in given]
    found = [names(trained.corpus.path or given), given]
    found += [
        tuple(name if name in NAMED else os.path.join(p, name) for name in inside) for p in parents for inside in (given, alone)
    ]
    return list(dict.fromkeys(tuple(name if name in NAMED else os.path.abspath(name) for name in place) for place in found))
