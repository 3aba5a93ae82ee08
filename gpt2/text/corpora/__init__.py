"""Where text comes from: files, or a corpus by name."""

from gpt2.text.corpora.corpus import Corpus, Document
from gpt2.text.corpora.named import NAMED, STDIN, is_read_once, load_again, load_corpus, pydocs

__all__ = ["NAMED", "STDIN", "Corpus", "Document", "is_read_once", "load_again", "load_corpus", "pydocs"]
