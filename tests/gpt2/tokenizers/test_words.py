"""How a text is cut into words."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.tokenizers import words as cutting
from gpt2.tokenizers.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello world", ["Hello", " world"]),
        ("I'll say it's 'tis they'Ve", ["I", "'ll", " say", " it", "'s", " '", "tis", " they", "'", "Ve"]),
        ("a1b 22!? ok", ["a", "1", "b", " 22", "!?", " ok"]),
        ("a  b   ", ["a", " ", " b", "   "]),
        ("a\n\n b\t\tc", ["a", "\n\n", " b", "\t", "\t", "c"]),
        ("a\x1cb\xa0\u3000c", ["a", "\x1c", "b", "\xa0", "\u3000", "c"]),  # \x1c is no White_Space, whatever Python says
        ("na\u0308ive²x", ["na", "\u0308", "ive", "²", "x"]),
        ("x𝐀é𝟙2 😀!𐐀", ["x𝐀é", "𝟙2", " 😀!", "𐐀"]),
        ("", []),
    ],
)
def test_by_hand(text, expected):
    assert [word for some in words(text) for word in some] == expected


def kind(c):
    """White space, a letter, a number, or something else."""
    if c in "\t\n\r \xa0\u2028\u3000":
        return "space"
    return {"L": "letter", "N": "number"}.get(unicodedata.category(c)[0], "other")


def slowly(text):
    """The same rules, character by character."""
    found, i = [], 0
    while i < len(text):
        short = next((s for s in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d") if text.startswith(s, i)), "")
        at = i + (text[i] == " " and i + 1 < len(text) and kind(text[i + 1]) != "space")
        end = next((j for j in range(at, len(text)) if kind(text[j]) != kind(text[at])), len(text))
        if kind(text[at]) == "space" and 1 < end - i < len(text) - i:
            end -= 1  # the last one goes to what follows
        found.append(short or text[i:end])
        i += len(found[-1])
    return found


@given(st.text("  \n\t'stremvld é日12²!?\u0308\x1c\xa0\u2028\u3000𝐀𐐀𝟙😀🎉\U0010ffff", max_size=20))
def test_all_rules_at_once(text):
    assert [word for some in words(text) for word in some] == slowly(text)


@given(st.text())
def test_words_are_the_text(text):
    assert "".join(word for some in words(text) for word in some) == text


def test_letters_and_numbers_are_those_of_unicode_as_far_as_this_python_knows():
    """Python 3.11 has Unicode 14, 3.14 has 16; the table is 16."""
    letters, numbers = _members(cutting.LETTERS), _members(cutting.NUMBERS)
    newer = float(unicodedata.unidata_version.rsplit(".", 1)[0]) > 16
    for i in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(i))
        if category == "Cn" or (newer and i not in letters and i not in numbers):
            continue
        assert (i in letters) == (category[0] == "L"), hex(i)
        assert (i in numbers) == (category[0] == "N"), hex(i)


def _members(table):
    bounds = [[int(b, 16) for b in part.split("-")] for part in table.split()]
    return {i for b in bounds for i in range(b[0], b[-1] + 1)}
