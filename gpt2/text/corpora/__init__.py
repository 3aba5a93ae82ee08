"""Where text comes from: files, or a corpus by name."""

from gpt2.text.corpora.corpus import Corpus, Document
from gpt2.text.corpora.named import NAMED, STDIN, Texts, is_read_once, load_corpus, names, noted, pydocs
from gpt2.text.corpora.piped import short_text
from gpt2.text.corpora.reading import Form

__all__ = [
    "NAMED",
    "STDIN",
    "Corpus",
    "Document",
    "Form",
    "Texts",
    "is_read_once",
    "load_corpus",
    "names",
    "noted",
    "pydocs",
    "short_text",
]
