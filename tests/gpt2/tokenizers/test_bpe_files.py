"""BPE files: ours are Hugging Face's, and theirs are ours or refused by name."""

import json
import re

import numpy as np
import pytest

from gpt2.errors import DataError, RunError
from gpt2.tokenizers import BPETokenizer, load_tokenizer

TEXT = "low lower lowest, newer newest; wide wider widest! naïve 日本語 <|endoftext|> 12  \n\n x 😀"


@pytest.fixture(scope="module")
def trained():
    return BPETokenizer.train(TEXT, 300)


def test_saved_and_loaded(tmp_path, trained):
    trained.save(tmp_path / "t.json")
    loaded = load_tokenizer(tmp_path / "t.json")
    assert isinstance(loaded, BPETokenizer)
    assert loaded.sha256 == trained.sha256
    assert (loaded.tokens, loaded.merges, loaded.special) == (trained.tokens, trained.merges, trained.special)
    np.testing.assert_array_equal(loaded.encode(TEXT, special=True), trained.encode(TEXT, special=True))


@pytest.mark.parametrize("kept", [["tokenizer.json"], ["vocab.json", "merges.txt"]])
def test_a_folder_as_hugging_face_lays_it_out(tmp_path, trained, kept):
    trained.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json"]
    for path in tmp_path.iterdir():
        if path.name not in kept:
            path.unlink()
    assert BPETokenizer.from_pretrained(tmp_path).sha256 == trained.sha256
    if "vocab.json" in kept:
        assert BPETokenizer.from_files(tmp_path / "vocab.json", str(tmp_path / "merges.txt")).sha256 == trained.sha256


def test_folders_that_hold_none(tmp_path, trained):
    with pytest.raises(RunError, match=r"tokenizer\.json: No such file"):
        BPETokenizer.from_pretrained(tmp_path)
    trained.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(RunError, match=r"merges\.txt: No such file"):
        BPETokenizer.from_pretrained(tmp_path)
    with pytest.raises(RunError, match="cannot be written"):
        trained.save_pretrained(tmp_path / "nowhere")


def test_without_a_special_token(tmp_path, trained):
    plain = BPETokenizer(trained.tokens[:-1], trained.merges)
    plain.save_pretrained(tmp_path)
    for loaded in (load_tokenizer(tmp_path / "tokenizer.json"), BPETokenizer.from_pretrained(tmp_path)):
        assert loaded.sha256 == plain.sha256 != trained.sha256
        assert loaded.end_of_text is None
        assert loaded.decode(loaded.encode(TEXT, special=True)) == TEXT


def test_several_special_tokens_and_the_longest_is_found(tmp_path, trained):
    special = {"<|endoftext|>": 299, "<|end": 300, "日": 301}
    tokenizer = BPETokenizer([*trained.tokens[:299], *(name.encode() for name in special)], trained.merges, special)
    assert tokenizer.encode("<|endoftext|><|end日", special=True).tolist() == [299, 300, 301]
    assert max(tokenizer.encode("<|endoftext|><|end日")) < 299
    tokenizer.save(tmp_path / "t.json")
    assert load_tokenizer(tmp_path / "t.json").sha256 == tokenizer.sha256


@pytest.mark.parametrize(
    ("tokens", "merges", "special", "message"),
    [
        (lambda t: t[1:], [], {}, "1 of the 256 bytes have no token, the first is 0x21"),
        (lambda t: [*t, b"a"], [], {}, "token b'a' comes twice"),
        (lambda t: [*t, b""], [], {}, "token 256 is empty"),
        (lambda t: t, [(0, 1)], {}, "the merge of b'!' and b'\"' makes no token"),
        (lambda t: [*t, b'!"'], [(0, 1), (0, 1)], {}, "the merge of b'!' and b'\"' comes twice"),
        (lambda t: [*t, b"<x>"], [], {"<x>": 255}, "special token '<x>' is not token 255"),
        (lambda t: [*t, b"<x>"], [], {"<x>": 257}, "special token '<x>' is not token 257"),
        (lambda t: [*t, b"<x>"], [], {"<x>": -1}, "special token '<x>' is not token -1"),
        (lambda t: [*t, b""], [], {"": 256}, "special token '' is not token 256"),
    ],
)
def test_parts_that_do_not_fit(trained, tokens, merges, special, message):
    with pytest.raises(DataError) as caught:
        BPETokenizer(tokens(trained.tokens[:256]), merges, special)
    assert str(caught.value) == message


def put(path, value):
    """A change of a saved tokenizer: what stands at a path becomes `value`."""

    def change(saved):
        for key in path[:-1]:
            saved = saved[key]
        saved[path[-1]] = value

    return change


def drop(*path):
    def change(saved):
        for key in path[:-1]:
            saved = saved[key]
        del saved[path[-1]]

    return change


def rename(old, new):
    def change(saved):
        saved["model"]["vocab"][new] = saved["model"]["vocab"].pop(old)
        saved["added_tokens"][0]["content"] = new

    return change


DAMAGE = [
    (put(["model"], []), "its 'model' is not an object"),
    (put(["model", "type"], "Unigram"), "a model of type 'Unigram', not BPE"),
    (put(["model", "vocab"], ["a"]), "its vocabulary is not an object"),
    (drop("model", "vocab"), "its vocabulary is not an object"),
    (drop("model", "merges"), "its merges are not a list"),
    (put(["model", "merges"], "a b"), "its merges are not a list"),
    (put(["model", "merges", 0], "ab"), "merge 1 is 'ab', not two tokens"),
    (put(["model", "merges", 1], "a b c"), "merge 2 is 'a b c', not two tokens"),
    (put(["model", "merges", 0], ["a"]), r"merge 1 is \['a'\], not two tokens"),
    (put(["model", "merges", 0], ["a", 3]), "not two tokens"),
    (put(["model", "merges", 0], 7), "merge 1 is 7, not two tokens"),
    (put(["model", "merges", 0], "a zz"), "merge 1 is 'a zz', but there is no token 'zz'"),
    (put(["model", "merges", 0], "a <|endoftext|>"), "there is no token '<.endoftext.>'"),
    (put(["model", "merges", 0], "z q"), "the merge of b'z' and b'q' makes no token"),
    (lambda saved: saved["model"]["merges"].append(saved["model"]["merges"][0]), "the merge of .* comes twice"),
    (put(["model", "vocab", "a"], "0"), "token 'a' has the id '0'; 300 tokens have the ids 0 to 299"),
    (put(["model", "vocab", "a"], True), "token 'a' has the id True"),
    (put(["model", "vocab", "a"], 300), "token 'a' has the id 300"),
    (put(["model", "vocab", "a"], -1), "token 'a' has the id -1"),
    (put(["model", "vocab", "a"], 0), "300 tokens have 299 different ids"),
    (drop("model", "vocab", "a"), "token '.*' has the id 299; 299 tokens have the ids 0 to 298"),
    (put(["model", "vocab", "\n"], 300), "token '.n': '.n' stands for no byte"),
    (put(["model", "dropout"], 0.1), "dropout = 0.1, which GPT-2 does not have"),
    (put(["model", "ignore_merges"], True), "ignore_merges = True"),
    (put(["model", "continuing_subword_prefix"], "##"), "continuing_subword_prefix = '##'"),
    (put(["model", "end_of_word_suffix"], "</w>"), "end_of_word_suffix = '</w>'"),
    (put(["normalizer"], {"type": "NFC"}), "a normalizer, which GPT-2 does not have"),
    (put(["pre_tokenizer"], {"type": "Whitespace"}), "a pre_tokenizer 'Whitespace'; GPT-2 has ByteLevel"),
    (put(["pre_tokenizer"], None), "a pre_tokenizer None"),
    (put(["pre_tokenizer"], 3), "a pre_tokenizer 3"),
    (put(["pre_tokenizer", "add_prefix_space"], True), "add_prefix_space must be false"),
    (drop("pre_tokenizer", "add_prefix_space"), "add_prefix_space must be false"),
    (put(["pre_tokenizer", "use_regex"], False), "use_regex true"),
    (put(["post_processor"], {"type": "TemplateProcessing"}), "a post_processor 'TemplateProcessing'"),
    (put(["decoder"], {"type": "WordPiece"}), "a decoder 'WordPiece'"),
    (put(["added_tokens"], {"a": 1}), "its 'added_tokens' are not a list"),
    (put(["added_tokens", 0], "x"), "an added token is not an object"),
    (put(["added_tokens", 0, "content"], 5), "the added token 5 with id 299"),
    (rename("<|endoftext|>", ""), "special token '' is not token 299"),
    (put(["added_tokens", 0, "id"], "299"), "with id '299' is not a text with one id"),
    (put(["added_tokens", 0, "id"], 5), "token '<.endoftext.>' has the ids 299 and 5"),
    (put(["added_tokens", 0, "lstrip"], True), "the added token '<.endoftext.>' is lstrip"),
    (
        lambda saved: saved["added_tokens"].append({"id": 298, "content": "<|endoftext|>"}),
        "with id 298 is not a text with one id",
    ),
    (rename("<|endoftext|>", "\ud800"), "surrogates not allowed"),
    (put(["model"], None), "its 'model' is not an object"),
]


@pytest.mark.parametrize(("damage", "cause"), DAMAGE)
def test_damaged_files(tmp_path, trained, damage, cause):
    saved = trained.to_json()
    damage(saved)
    path = tmp_path / "t.json"
    path.write_text(json.dumps(saved))
    with pytest.raises(RunError, match=rf"t\.json is not a tokenizer: .*({cause})"):
        load_tokenizer(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_half_a_file(tmp_path, trained, part):
    trained.save(tmp_path / "t.json")
    whole = (tmp_path / "t.json").read_bytes()
    (tmp_path / "t.json").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(RunError, match=r"t\.json is not a tokenizer"):
        load_tokenizer(tmp_path / "t.json")


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("vocab.json", b"[]", "not an object"),
        ("vocab.json", b'{"a": 0, "a": 1}', "'a' comes twice"),
        ("vocab.json", b'{"a": 0}', "255 of the 256 bytes have no token"),
        ("vocab.json", b'{"a": 0, "b": 0}', "2 tokens have 1 different ids"),
        ("vocab.json", b'{"a": 0', "Expecting"),
        ("vocab.json", b"\xff", "can't decode byte 0xff"),
        ("merges.txt", b"#version: 0.2\na b c\n", "merge 1 is 'a b c', not two tokens"),
        ("merges.txt", b"#version: 0.2\na b\n\n", "merge 2 is '', not two tokens|makes no token"),
        ("merges.txt", b"#version: 0.2\nq z\n", "makes no token"),
        ("merges.txt", b"#version: 0.2\nz zz\n", "merge 1 is 'z zz', but there is no token 'zz'"),
        ("merges.txt", b"\xff", "can't decode byte 0xff"),
    ],
)
def test_damaged_pairs_of_files(tmp_path, trained, name, content, cause):
    trained.save_pretrained(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=rf"^{re.escape(str(tmp_path / name))} is not a tokenizer: .*({cause})"):
        BPETokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")


def test_names_that_their_files_cannot_hold(trained):
    names = BPETokenizer([*trained.tokens[:-1], "Ġ".encode()], trained.merges, {"Ġ": 299})
    with pytest.raises(DataError, match="'Ġ' is spelled like another token"):
        names.to_json()


@pytest.mark.oracle
def test_hugging_face_opens_ours(tmp_path, hf, trained):
    trained.save(tmp_path / "tokenizer.json")
    theirs = hf.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.get_vocab_size() == trained.vocab_size
    for text in (TEXT, "", "  a\n\n", "x<|endoftext|>y"):
        ids = theirs.encode(text).ids
        assert ids == trained.encode(text, special=True).tolist()
        assert theirs.decode(ids, skip_special_tokens=False) == text
        assert theirs.decode(ids, skip_special_tokens=True) == text.replace("<|endoftext|>", "")


@pytest.mark.oracle
def test_transformers_opens_ours(tmp_path, trained, transformers):
    trained.save_pretrained(tmp_path)
    fast = transformers.GPT2TokenizerFast
    for theirs in (fast(tokenizer_file=str(tmp_path / "tokenizer.json")), fast.from_pretrained(str(tmp_path))):
        assert theirs(TEXT)["input_ids"] == trained.encode(TEXT, special=True).tolist()
        assert theirs.eos_token_id == trained.end_of_text


@pytest.mark.oracle
def test_theirs_is_opened_as_it_is(tmp_path, hf):
    theirs = hf.Tokenizer(hf.models.BPE())
    theirs.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = hf.decoders.ByteLevel()
    alphabet = hf.pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<|pad|>"]  # these come first, and the alphabet is sorted in another way
    trainer = hf.trainers.BpeTrainer(vocab_size=320, show_progress=False, special_tokens=special, initial_alphabet=alphabet)
    theirs.train_from_iterator([TEXT] * 3, trainer)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path / "tokenizer.json")
    assert ours.end_of_text == 0
    assert ours.vocab_size == theirs.get_vocab_size()
    for text in (TEXT, "a<|pad|><|endoftext|>b", "new NEW\n\n 日本😀"):
        assert ours.encode(text, special=True).tolist() == theirs.encode(text).ids
    ours.save(tmp_path / "again.json")
    assert load_tokenizer(tmp_path / "again.json").sha256 == ours.sha256
    theirs.model.save(str(tmp_path))  # vocab.json, merges.txt
    (tmp_path / "tokenizer.json").unlink()
    text = TEXT.replace("<|endoftext|>", "")
    assert BPETokenizer.from_pretrained(tmp_path).encode(text).tolist() == theirs.encode(text).ids


@pytest.mark.oracle
def test_gpt2s_own_goes_there_and_back(tmp_path, hf, gpt2):
    gpt2.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path / "tokenizer.json").sha256 == gpt2.sha256
    assert BPETokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt").sha256 == gpt2.sha256
    theirs = hf.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(TEXT).ids == gpt2.encode(TEXT, special=True).tolist()
