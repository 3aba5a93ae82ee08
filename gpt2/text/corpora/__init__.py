"""Where text comes from: files, or a corpus by name."""

from gpt2.text.corpora.corpus import Corpus, Document
from gpt2.text.corpora.named import NAMED, Texts, is_read_once, load_again, load_corpus, noted, pydocs
from gpt2.text.corpora.piped import short_text
from gpt2.text.corpora.reading import Form

__all__ = [
    "NAMED",
    "Corpus",
    "Document",
    "Form",
    "Texts",
    "is_read_once",
    "load_again",
    "load_corpus",
    "noted",
    "pydocs",
    "short_text",
]
