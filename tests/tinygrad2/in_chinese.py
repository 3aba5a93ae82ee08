"""Whether a text that was said in Chinese is all in Chinese."""

import re

from tinygrad2.context import within
from tinygrad2.language import LANGUAGE, translation

NAMES = r"--[a-z0-9-]+(?: [0-9.e-]+)?|gpt2 \w+|no_grad\(\)|\btoken [a-z]\b|token\b|np\.\w+|(?<![A-Za-z])[A-Za-z](?![A-Za-z])"
"""Flags, commands, code, and words that Chinese textbooks leave as they are."""


def left_in_english(package, texts):
    """Of those texts, said in Chinese, the ones in which two English words are side by side."""
    with within(LANGUAGE, "zh"):
        said = map(translation(package), texts)
        return [text for text in said if re.search(r"[A-Za-z]{2,},? [A-Za-z]{2,}", re.sub(NAMES, "", text))]
