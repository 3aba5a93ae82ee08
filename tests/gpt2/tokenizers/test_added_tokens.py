"""Tokens that were added to a Hugging Face tokenizer, and its settings for lengths: its ids, or a refusal by name."""

import itertools
import json
import random

import pytest

from gpt2.cli import main
from gpt2.errors import RunError
from gpt2.tokenizers import BPETokenizer, load_tokenizer

TRAINED = BPETokenizer.train("low lower lowest newest <|endoftext|> wide", 270)
END = TRAINED.vocab_size - 1


def saved_with(path, *added, **changes):
    """Its file with tokens added; a token is its content, whether it is special, and whether it is normalized."""
    saved = TRAINED.to_json() | changes
    for content, special, normalized in added:
        own = saved["model"]["vocab"].get(content)
        known = {token["content"] for token in saved["added_tokens"]}
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": normalized, "special": special}
        new = TRAINED.vocab_size + len([token for token in saved["added_tokens"] if token["id"] >= TRAINED.vocab_size])
        if content not in known:
            saved["added_tokens"].append({"id": new if own is None else own, "content": content, **flags})
    path.write_text(json.dumps(saved))
    return path


def test_one_that_is_not_special_is_always_found(tmp_path):
    tokenizer = load_tokenizer(saved_with(tmp_path / "t.json", ("<x>", False, True), ("<pad>", True, False)))
    x, pad = END + 1, END + 2
    low = TRAINED.encode("low").tolist()
    assert tokenizer.encode("low<x>low").tolist() == [*low, x, *low]
    assert tokenizer.encode("<x><x>", special=True).tolist() == [x, x]
    assert tokenizer.encode("<pad>").tolist() == TRAINED.encode("<pad>").tolist()
    assert tokenizer.encode("<pad>", special=True).tolist() == [pad]
    assert tokenizer.decode([*low, x, pad]) == "low<x><pad>"
    assert list(tokenizer.parts("low<x> low")) == [("low", False), ("<x>", True), (" low", False)]
    assert tokenizer.end_of_text == END


def test_they_are_kept_where_it_is_saved_again(tmp_path):
    added = [("<x>", False, True), ("<pad>", True, False), ("low", False, False)]
    tokenizer = load_tokenizer(saved_with(tmp_path / "t.json", *added))
    tokenizer.save_pretrained(tmp_path)
    again = BPETokenizer.from_pretrained(tmp_path)
    assert again.sha256 == tokenizer.sha256 != TRAINED.sha256
    assert again.to_json() == tokenizer.to_json()
    assert load_tokenizer(saved_with(tmp_path / "t.json")).sha256 == TRAINED.sha256


def test_one_that_merges_make_too(tmp_path):
    """It is cut out of the words around it."""
    low = TRAINED.encode("low").tolist()
    assert len(low) == 1
    tokenizer = load_tokenizer(saved_with(tmp_path / "t.json", ("low", False, True)))
    assert tokenizer.vocab_size == TRAINED.vocab_size
    assert tokenizer.encode("slower").tolist() == [*TRAINED.encode("s"), *low, *TRAINED.encode("er")]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"truncation": {"max_length": 5}}, r"truncation = {'max_length': 5}, which cuts .* make it null in the file"),
        ({"padding": {"strategy": {"Fixed": 8}}}, "padding = .*, which adds tokens to a text; make it null in the file"),
        ({"padding": {"strategy": "BatchLongest", "pad_to_multiple_of": 8}}, "padding = "),
        ({"padding": 3}, "padding = 3"),
    ],
)
def test_what_changes_lengths_is_refused(tmp_path, changes, cause):
    with pytest.raises(RunError, match=rf"t\.json is not a tokenizer: {cause}"):
        load_tokenizer(saved_with(tmp_path / "t.json", **changes))


def test_padding_that_adds_nothing_to_a_text_alone(tmp_path):
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_token": "!"}
    path = saved_with(tmp_path / "t.json", padding=padding | {"pad_type_id": 0})
    assert load_tokenizer(path).sha256 == TRAINED.sha256


@pytest.mark.parametrize("flag", ["single_word", "lstrip", "rstrip"])
@pytest.mark.parametrize("special", [True, False])
def test_flags_that_are_refused(tmp_path, flag, special):
    saved = json.loads(saved_with(tmp_path / "t.json", ("<x>", special, False)).read_text())
    saved["added_tokens"][-1][flag] = True
    (tmp_path / "t.json").write_text(json.dumps(saved))
    with pytest.raises(RunError, match=rf"the added token '<x>' is {flag}, .*make it false in the file"):
        load_tokenizer(tmp_path / "t.json")


def test_names_that_are_refused(tmp_path):
    with pytest.raises(RunError, match="the added token 'a b' has white space inside"):
        load_tokenizer(saved_with(tmp_path / "t.json", ("a b", False, True)))
    load_tokenizer(saved_with(tmp_path / "t.json", ("a b", True, True), ("   ", False, True), (" a", False, False)))
    spaced = next(name for name in TRAINED.to_json()["model"]["vocab"] if name.startswith("Ġ") and len(name) > 1)
    with pytest.raises(RunError, match=f"the added token '{spaced}' is also how the token b' .*' is spelled"):
        load_tokenizer(saved_with(tmp_path / "t.json", (spaced, False, True)))
    TRAINED.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "added_tokens.json").write_text('{"<x>": 270}')
    with pytest.raises(RunError, match=r"added_tokens\.json: only a tokenizer\.json can hold these"):
        BPETokenizer.from_pretrained(tmp_path)


NAMES = ("<x>", "low", "wlo", "owe", "we", "<|", "|>", "er<", "  ", "\n\n", "日")


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(20))
def test_ids_are_those_of_tokenizers(tmp_path, hf, seed):
    """Also where names overlap, the longest and the first pass win; and where those that are special are to be text."""
    rng = random.Random(seed)
    names = rng.sample(NAMES, rng.randrange(1, 8))
    vocab = TRAINED.to_json()["model"]["vocab"]  # whose tokens cannot be special: merges need them
    added = [(name, name not in vocab and rng.random() < 0.3, rng.random() < 0.5) for name in names]
    path = saved_with(tmp_path / "t.json", *added)
    ours, theirs = load_tokenizer(path), hf.Tokenizer.from_file(str(path))
    for name, i in itertools.chain(ours.special.items(), ours.found.added.items()):
        assert theirs.token_to_id(name) == i
    pool = [*NAMES, "<|endoftext|>", "lower", " ", "\n", "w", "lo", "<", "x", "lowest"]
    for _ in range(100):
        text = "".join(rng.choices(pool, k=rng.randrange(12)))
        theirs.encode_special_tokens = False
        assert ours.encode(text, special=True).tolist() == theirs.encode(text).ids, (added, text)
        theirs.encode_special_tokens = True
        assert ours.encode(text).tolist() == theirs.encode(text).ids, (added, text)


# -- the name of the end-of-text token in a text


@pytest.fixture
def tokenizer_file(tmp_path):
    TRAINED.save(tmp_path / "bpe.json")
    return tmp_path / "bpe.json"


SMALL = "--steps 2 --eval-every 2 --d-model 8 --num-layers 1 --num-heads 2 --max-seq-len 8 --sample-tokens 0 --no-plots".split()  # noqa: SIM905


def test_end_of_text_in_a_text_is_text_and_said_so(tmp_path, tokenizer_file, capsys):
    """Its tokens are those of its name, in all commands; a folder has the token between its files."""
    (tmp_path / "my.txt").write_text("low lower<|endoftext|>lowest newest\n" * 30)
    size = len(TRAINED.encode("<|endoftext|>"))
    said = f"my: its 30 <|endoftext|> are read as text ({size} tokens each); to separate documents, make each one a file"
    data, out = ["--data", str(tmp_path / "my.txt")], str(tmp_path / "run")
    assert main(["train", *data, "--out", out, "--tokenizer", str(tokenizer_file), *SMALL]) == 0
    assert said in capsys.readouterr().err
    assert main(["eval", "--run", out, *data, "--json"]) == 0
    assert said in capsys.readouterr().err
    assert (
        main(["tokenize", "--train", str(tmp_path / "my.txt"), "--vocab-size", "262", "--out", str(tmp_path / "t.json")]) == 0
    )
    assert "my: its 30 <|endoftext|> are left out, and merges are learned from the text between them" in capsys.readouterr().err
    (tmp_path / "plain.txt").write_text("low lower lowest newest\n" * 30)
    assert main(["train", "--data", str(tmp_path / "plain.txt"), "--out", str(tmp_path / "plain"), *SMALL]) == 0
    assert main(["eval", "--run", str(tmp_path / "plain"), *data]) == 2  # of characters: it has no such token
    assert "'<' (U+003C), '|' (U+007C), " in capsys.readouterr().err
    for tokenizer in ("char", "byte"):
        assert main(["train", *data, "--out", str(tmp_path / tokenizer), "--tokenizer", tokenizer, *SMALL]) == 0
        assert ("<|endoftext|>" in capsys.readouterr().err) == (tokenizer == "byte")
    commands = {
        "tokenize": ["tokenize", "low<|endoftext|>", "--tokenizer", str(tokenizer_file)],
        "sample": ["sample", "--run", out, "--prompt", "low<|endoftext|>", "--tokens", "1"],
        "inspect": ["inspect", out, "--prompt", "<|end|<|endoftext|>"[6:], "--out", str(tmp_path / "a.html")],
        "lab": ["lab", out, "--prompt", "low<|endoftext|>", "--tokens", "2", "--out", str(tmp_path / "b.html")],
    }
    for name, command in commands.items():
        for flags in ([], ["--special"]):
            code = main([*command, *flags])
            assert code == 0 or (name == "inspect" and not flags)  # more tokens than its context
            said = f"<|endoftext|> is read as text ({size} tokens); --special reads it as that token"
            found = said in capsys.readouterr().err
            assert found == (not flags), name


def test_end_of_text_that_is_not_special_is_the_token_everywhere(tmp_path, capsys):
    saved = TRAINED.to_json()
    saved["added_tokens"][0]["special"] = False
    (tmp_path / "t.json").write_text(json.dumps(saved))
    tokenizer = load_tokenizer(tmp_path / "t.json")
    assert tokenizer.end_of_text == END
    assert tokenizer.encode("<|endoftext|>").tolist() == [END]
    assert main(["tokenize", "low<|endoftext|>", "--tokenizer", str(tmp_path / "t.json")]) == 0
    assert capsys.readouterr().err == ""
