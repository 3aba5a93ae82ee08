"""Where text comes from: files, or a corpus by name."""

from gpt2.corpora.corpus import Corpus, Document
from gpt2.corpora.named import NAMED, load_corpus, pydocs

__all__ = ["NAMED", "Corpus", "Document", "load_corpus", "pydocs"]
