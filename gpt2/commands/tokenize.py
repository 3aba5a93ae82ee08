"""`gpt2 tokenize`: what a tokenizer makes of a text and, with --show, why; or train one."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt2.commands.arguments import add_form, add_skip, encoded, read_as, told
from gpt2.commands.parser import natural
from gpt2.errors import ConfigError, RunError
from gpt2.files import naming, strict_json
from gpt2.terminal import note, one_line, progress, styled
from gpt2.text.corpora import load_corpus, short_text
from gpt2.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer, load_tokenizer
from gpt2.tokenizers.base import END_OF_TEXT
from tinygrad2.errors import counted
from tinygrad2.files import check_kind
from tinygrad2.language import padded, width_of

HELP = "show the tokens of a text and the merges that made them, or train a tokenizer"

BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
SHADES = ("\x1b[48;5;24m\x1b[38;5;231m", "\x1b[48;5;60m\x1b[38;5;231m")
"""Of neighbouring tokens, on a terminal."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument("text", nargs="?", help="the text (after -- if it begins with a dash), or - for standard input")
    parser.add_argument(
        "--tokenizer", default="gpt2", metavar="NAME", help="gpt2, byte, a tokenizer's file, or a run folder (default gpt2)"
    )
    parser.add_argument("--show", action="store_true", help="show every merge of every word, with its rank")
    parser.add_argument("--special", action="store_true", help="read special tokens, such as <|endoftext|>, as tokens")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--train",
        action="append",
        metavar="DATA",
        help="instead, train a byte-level BPE on this text, given as for gpt2 train; may be repeated",
    )
    add_form(parser)
    add_skip(parser)
    parser.add_argument("--vocab-size", type=natural, help="with --train: tokens, with the 256 bytes and <|endoftext|>")
    parser.add_argument("--out", help="with --train: the file to write, in Hugging Face's tokenizer.json format")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.train is not None:
        return _train(args)
    if args.out or args.vocab_size is not None:
        raise ConfigError("--out and --vocab-size are for --train: leave them out")
    if args.text is None:
        raise ConfigError('give a text, such as gpt2 tokenize "Hello", or - to read standard input, or --train')
    if ("encoding" in args and args.text != "-") or "text_field" in args:
        raise ConfigError("--encoding is for standard input and --train, and --text-field for --train")
    text = short_text("-", read_as(args).encoding) if args.text == "-" else args.text
    tokenizer = _open(args.tokenizer)
    if args.show and not isinstance(tokenizer, BPETokenizer):
        raise ConfigError(f"--show: the tokenizer {args.tokenizer} has no merges; choose a BPE, such as gpt2")
    text, ids = encoded(args, tokenizer, text, "the text")
    about = _describe(tokenizer, args.tokenizer, text, ids.tolist(), args.special, args.show)
    if args.json:
        print(strict_json(about))
    else:
        styled("\n".join(_lines(about, sys.stdout.isatty() and not os.environ.get("NO_COLOR"))))
    return 0


TOKENIZER = b'{\n  "version"'
"""How the file begins that is written."""


def _open(name: str) -> Tokenizer:
    if name == "gpt2":
        try:
            return BPETokenizer.gpt2()
        except RunError as error:
            raise RunError(f"--tokenizer RUN or --tokenizer byte works without GPT-2's vocabulary. {error}") from error
    if name == "byte":
        return ByteTokenizer()
    if name in ("char", "bpe") and not os.path.exists(name):
        raise RunError(f"--tokenizer {name}: {name} is learned from a text: name a run, such as --tokenizer runs/mine")
    if not os.path.exists(name):  # which is false for a name that no file can have
        raise RunError(f"--tokenizer {name}: no such file or folder; the names are gpt2 and byte")
    return load_tokenizer(name)


# -- what there is to say


def _describe(tokenizer: Tokenizer, name: str, text: str, ids: list[int], special: bool, show: bool) -> dict[str, Any]:
    """Everything that is printed, as --json gives it; bytes in hexadecimal."""
    raw = text.encode()
    tokens: list[dict[str, Any]] = []
    start = 0
    for i in ids:
        token = tokenizer.token_bytes(i)
        tokens.append({"id": i, "bytes": token.hex(), "text": _escaped(token), "part_of": _cut(raw, start, start + len(token))})
        start += len(token)
    about: dict[str, Any] = {
        "tokenizer": name,
        "vocab_size": tokenizer.vocab_size,
        "characters": len(text),
        "bytes": len(raw),
        "count": len(ids),
        "bytes_per_token": len(raw) / len(ids) if ids else None,
        "tokens": tokens,
    }
    if show and isinstance(tokenizer, BPETokenizer):
        about["words"] = [_merges(tokenizer, *part) for part in tokenizer.parts(text, special)]
    return about


def _cut(raw: bytes, start: int, end: int) -> list[str]:
    """The characters of which the bytes from start to end hold some, but not all."""
    found = []
    for place in (start, end):
        first = place
        while 0 < first < len(raw) and raw[first] & 0xC0 == 0x80:  # a byte that goes on with a character
            first -= 1
        if first != place:
            last = first + 1
            while last < len(raw) and raw[last] & 0xC0 == 0x80:
                last += 1
            found.append(raw[first:last].decode())
    return list(dict.fromkeys(found))


def _merges(tokenizer: BPETokenizer, word: str, is_special: bool) -> dict[str, Any]:
    """A word, its tokens before any merge, and after each. A special token is none of these: it has no merges."""
    if is_special:
        return {"word": word, "special": True, "start": [word], "merges": []}
    ids = tokenizer.spelled(word)
    about: dict[str, Any] = {"word": word, "special": False, "start": _texts(tokenizer, ids), "merges": []}
    for rank, at in tokenizer.merging(ids):
        left, right = _texts(tokenizer, tokenizer.merges[rank])
        about["merges"].append({"rank": rank, "left": left, "right": right, "at": at, "tokens": _texts(tokenizer, ids)})
    return about


def _texts(tokenizer: Tokenizer, ids: Any) -> list[str]:
    return [_escaped(tokenizer.token_bytes(i)) for i in ids]


def _escaped(token: bytes) -> str:
    r"""Bytes as one line of visible characters: a space is ·, a byte that is no character \xe6, the rest as in Python."""
    shown = []
    for c in token.decode("utf-8", "surrogateescape"):
        code = ord(c)
        if c == " ":
            shown.append("·")
        elif 0xDC80 <= code <= 0xDCFF:
            shown.append(f"\\x{code - 0xDC00:02x}")
        elif c in "\n\r\t\\":
            shown.append({"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}[c])
        elif c == "·" or unicodedata.category(c)[0] in "CMZ":  # control, combining and invisible characters
            shown.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
        else:
            shown.append(c)
    return "".join(shown)


# -- how it is said


def _lines(about: dict[str, Any], color: bool) -> Iterator[str]:
    tokens = about["tokens"]
    if tokens:
        shades = [SHADES[i % 2] + token["text"] + PLAIN for i, token in enumerate(tokens)]
        yield "".join(shades) if color else " ".join(token["text"] for token in tokens)
        yield ""
        width = max(5, *(width_of(token["text"]) for token in tokens))
        yield _painted(f"{'id':>7}  {padded('token', width)}  bytes", DIM, color)
        for token in tokens:
            note = f"  part of {' and '.join(map(one_line, token['part_of']))}" if token["part_of"] else ""
            size = len(token["bytes"]) // 2
            yield f"{token['id']:>7}  {padded(token['text'], width)}  {size:>5}{_painted(note, DIM, color)}"
        yield ""
    for word in about.get("words", ()):
        yield from _word_lines(word, color)
        yield ""
    ratio = f": {about['bytes_per_token']:.2f} bytes per token" if tokens else ""
    yield (
        f"{counted(about['count'], 'token')} of {about['vocab_size']:,} for {counted(about['characters'], 'character')}, "
        f"{counted(about['bytes'], 'byte')}{ratio}"
    )
    yield _painted("· is a space, \\n a new line, \\xe6 a byte that is only part of a character", DIM, color)


def _word_lines(word: dict[str, Any], color: bool) -> Iterator[str]:
    """One word: its bytes, then a line for each merge with its rank, the two tokens, and the word after it."""
    start, merges = word["start"], word["merges"]
    if word["special"]:
        yield f"{_painted(one_line(start[0]), BOLD, color)}  a special token: never cut, never merged"
        return
    steps = counted(len(merges), "merge") if merges else "no merges"
    yield f"{_painted(_escaped(word['word'].encode()), BOLD, color)}  {counted(len(start), 'byte')}, {steps}"
    width = max((width_of(m["left"]) + width_of(m["right"]) + 3 for m in merges), default=0)
    yield f"  {'rank':>7}  {' ' * width}  {'  '.join(start)}" if merges else f"  {'':>7}  {'  '.join(start)}"
    for merge in merges:
        after = [
            _painted(token, BOLD, color) if color and i == merge["at"] else f"[{token}]" if i == merge["at"] else token
            for i, token in enumerate(merge["tokens"])
        ]
        yield f"  {merge['rank']:>7,}  {padded(merge['left'] + ' + ' + merge['right'], width)}  {'  '.join(after)}"


def _painted(text: str, code: str, color: bool) -> str:
    return f"{code}{text}{PLAIN}" if color and text else text


# -- training


def _train(args: argparse.Namespace) -> int:
    if args.text is not None or args.vocab_size is None or not args.out:
        raise ConfigError("--train needs --vocab-size and --out, and no other text")
    if args.show or args.special:
        raise ConfigError("--show and --special are for a text: leave them out with --train")
    if not os.access(Path(args.out).parent, os.W_OK):  # said before the training, and not after it
        raise RunError(f"--out {args.out}: cannot be written: its folder is missing or read-only")
    with naming(f"--out {args.out}"):
        check_kind(Path(args.out), TOKENIZER)
    corpus = told(load_corpus(args.train, read_as(args)))
    begin = time.perf_counter()
    tokenizer = BPETokenizer.train(corpus.pieces(), args.vocab_size, progress=not args.json)
    seconds = time.perf_counter() - begin
    tokenizer.save(Path(args.out))
    characters = size = count = ends = 0
    with progress(args.json, desc="encoding", unit="char", unit_scale=True) as bar:
        for piece in corpus.pieces():
            characters, size, count = characters + len(piece), size + len(piece.encode()), count + len(tokenizer.encode(piece))
            ends += piece.count(END_OF_TEXT)
            bar.update(len(piece))
    if tokenizer.vocab_size < args.vocab_size:
        note(
            f"--vocab-size {args.vocab_size}: the text has merges for only {counted(tokenizer.vocab_size, 'token')}; then each "
            "of its words is a single token"
        )
    if ends:
        note(f"{corpus.name}: its {ends:,} {END_OF_TEXT} are left out, and merges are learned from the text between them")
    about = {
        "data": corpus.name,
        "vocab_size": tokenizer.vocab_size,
        "merges": len(tokenizer.merges),
        "seconds": seconds,
        "characters": characters,
        "bytes": size,
        "tokens": count,
        "bytes_per_token": size / count if count else None,
        "sha256": tokenizer.sha256,
    }
    if args.json:
        print(strict_json(about))
        return 0
    print(f"{counted(tokenizer.vocab_size, 'token')}, {counted(len(tokenizer.merges), 'merge')}, in {seconds:.1f} s")
    ratio = f": {size / count:.2f} bytes per token" if count else ""
    print(f"  {one_line(corpus.name)} is {counted(size, 'byte')} and now {counted(count, 'token')}{ratio}")
    learned = tokenizer.tokens[256 : tokenizer.vocab_size - 1]
    if learned:
        print(f"  the first merges made  {'  '.join(map(_escaped, learned[:10]))}")
        print(f"  the longest tokens are {'  '.join(map(_escaped, sorted(learned, key=len, reverse=True)[:5]))}")
    print(f"tokenizer: {args.out}")
    print(f'next: gpt2 tokenize --tokenizer {one_line(shlex.quote(args.out))} --show "a text of yours"')
    return 0
