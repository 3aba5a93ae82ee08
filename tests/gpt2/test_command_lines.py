"""Command lines as people write them who come from elsewhere, or are wrong, and what is said to each.

python tests/gpt2/test_command_lines.py     # prints them as a table
"""

import contextlib
import io
import re
import shlex
import sys

import pytest

from gpt2 import cli
from gpt2.cli import COMMANDS, _parser, main
from gpt2.commands.foreign import COMMAND_OF, FLAGS_OF, SENTENCE_OF

LINES = {
    # nanoGPT's
    "train --n_embd=64 --n_layer=2 --n_head=2 --block_size=32": {
        "d_model": 64,
        "num_layers": 2,
        "num_heads": 2,
        "max_seq_len": 32,
    },
    "train --max_iters=100 --learning_rate=1e-3 --min_lr=1e-4": {
        "steps": 100,
        "learning_rate": 1e-3,
        "min_learning_rate": 1e-4,
    },
    "train --dataset=shakespeare --out_dir=out --eval_interval=9": {"out": "out", "eval_every": 9},
    "train --bias=False --dropout=0.1": {"bias": False, "dropout": 0.1},
    "train --device=cpu --compile=False": "--device: everything runs on the CPU: leave it out",
    "train --eval_iters=20": "--eval_iters: gpt2 train --eval-windows counts windows",
    "train --log_interval=1": "--log_interval: every step is logged: leave it out",
    "train --lr_decay_iters=2000": "the learning rate falls until the last step, as gpt2 train --schedule says",
    "train --decay_lr=False": "gpt2 train --schedule constant keeps",
    "train --init_from=resume": "--init-from resume: gpt2 train --resume --out RUN continues a run",
    "train --init_from scratch": "a model is new unless --init-from names one",
    "train --wandb_log=True": "gpt2 plot --tensorboard writes",
    "train --gradient_accumulation_steps=4": "gpt2 train --batch-size counts all sequences of an update",
    "train --always_save_checkpoint=True": "gpt2 train --save-every and --keep-every say which are kept",
    "train config/train_shakespeare_char.py": "config/train_shakespeare_char.py: no such file",
    "sample --out_dir=out --start=Once --num_samples=3 --max_new_tokens=50": {
        "run": "out",
        "prompt": "Once",
        "samples": 3,
        "tokens": 50,
    },
    # Hugging Face's
    "train --num_train_epochs 3": "training is counted in updates, not in epochs: gpt2 train --steps",
    "train --per_device_train_batch_size 8 --max_steps 10 --output_dir o": {"batch_size": 8, "steps": 10, "out": "o"},
    "train --model_name_or_path gpt2 --max_grad_norm 1 --adam_beta1 .9": {"init_from": "gpt2", "grad_clip": 1.0, "beta1": 0.9},
    "train --fp16 True": "gpt2 train --dtype is float32 or bfloat16",
    "train --report_to none": "gpt2 plot --tensorboard writes",
    "train --evaluation_strategy steps": "gpt2 train --eval-every counts steps",
    "train --warmup_ratio 0.1": "gpt2 train --warmup-steps counts steps",
    "train --overwrite_output_dir": "a run is never overwritten: give a new --out",
    "train --do_train --resume_from_checkpoint runs/a": "gpt2 train --resume --out RUN continues a run",
    "train --train_file a.txt --validation_file b.txt": "gpt2 train --val-fraction and --split choose the validation text",
    "sample --model runs/a --prompt x --num_return_sequences 2": {"run": "runs/a", "samples": 2},
    "sample runs/a --prompt x --do_sample": "gpt2 sample --temperature 0 takes the likeliest token",
    "sample runs/a --prompt x --num_beams 4": "there is no beam search",
    "sample runs/a --prompt x --max_length 50": "gpt2 sample --tokens counts new tokens",
    # llama.cpp's
    "sample -m runs/a -p Once -n 20 --temp 0.5 --top_k 4": {"run": "runs/a", "prompt": "Once", "tokens": 20, "top_k": 4},
    "sample -m runs/a -p x -ngl 99": "-ngl: everything runs on the CPU: leave it out",
    "sample -m runs/a -f prompt.txt": {"run": "runs/a", "prompt_file": "prompt.txt"},
    # a flag that is not there, or not here
    "train --stepz 3": "unknown argument '--stepz'; did you mean --steps?",
    "train -steps 3": "unknown argument '-steps'; did you mean --steps?",
    "train --no-bias": "unknown argument '--no-bias'; write --bias false",
    "train --frobnicate": "unknown argument '--frobnicate' (see gpt2 train --help)",
    "train --prompt x": "unknown argument '--prompt'; gpt2 sample has --prompt",
    "train --max-new-tokens 9": "unknown argument '--max-new-tokens'; gpt2 sample has --tokens",
    "train --start x": "unknown argument '--start'; gpt2 sample has --prompt",
    "train --run runs/a": "gpt2 train writes a run into --out",
    "bench --data x": "unknown argument '--data'; gpt2 train has --data",
    "gradcheck --dropout 0.1": "unknown argument '--dropout'; gpt2 train has --dropout",
    "info --lr 3": "unknown argument '--lr'; gpt2 train has --learning-rate",
    "sample --promt x runs/a": "unknown argument '--promt'; did you mean --prompt?",
    # a value that cannot be
    "train --lr 1e-3 --steps 1e3 --batch-size=1_000": {"learning_rate": 1e-3, "steps": 1000, "batch_size": 1000},
    "train --tie-embeddings --head-bias no": {"tie_embeddings": True, "head_bias": False},
    "train --zero my.txt --bias True": {"zero": True, "bias": True},
    "train --steps": "argument --steps: expected one argument",
    "train --steps --lr 3": "argument --steps: expected one argument",
    "train --steps many": "argument --steps: 'many' must be a whole number",
    "train --steps 1.5": "argument --steps: '1.5' must be a whole number",
    "train --learning-rate 0,001": "argument --learning-rate: '0,001' must be a number, such as 0.001",
    "train --batch-size -1": "batch_size = -1 must be at least 1",
    "train --bias=maybe": "'maybe' must be true or false",
    "train --preset gtp2": "invalid choice: 'gtp2'",
    "eval runs/a --json=true": "--json takes no value: write --json, not '--json=true'",
    # a run, a text, a command
    "train my.txt --steps 5": {"steps": 5},
    "train nope.txt": "nope.txt: no such file",
    "sample --prompt x": "the following arguments are required: RUN",
    "health": "the following arguments are required: RUN",
    "plot": "the following arguments are required: RUN",
    "export": "the following arguments are required: RUN, --out",
    "sample runs/nope": "runs/nope: no such folder",
    "inspect --run runs/nope": "runs/nope: no such folder",
    "replay runs/nope": "runs/nope: no such folder",
    "export runs/nope": "runs/nope: no such folder",
    "tokenize --run runs/a x": {"tokenizer": "runs/a", "text": "x"},
    "tokenize -m runs/a x": {"tokenizer": "runs/a", "text": "x"},
    "tokenize x --tokenizer char": "--tokenizer char: char is learned from a text: name a run, such as --tokenizer runs/mine",
    "tokenize x --tokenizer bpe": "--tokenizer bpe: bpe is learned from a text: name a run, such as --tokenizer runs/mine",
    "gradcheck --run runs/a": "unknown argument '--run'; gpt2 sample has --run",
    "sample runs/a --start=FILE:x.txt": {"run": "runs/a", "prompt_file": "x.txt", "prompt": None},
    "sample runs/a --prompt FILE:x.txt": {"run": "runs/a", "prompt_file": None, "prompt": "FILE:x.txt"},
    "sample runs/a --run runs/b --prompt x": "'runs/a' and 'runs/b' are both given as RUN",
    "sample runs/a Once --prompt x": "are both given as RUN; for anything else, use a flag: --prompt",
    "eval runs/a my.txt": "are both given as RUN; for anything else, use a flag: --data",
    "health --run runs/a": {"run": "runs/a"},
    "info runs/a": {"run": "runs/a"},
    "plot runs/a --run runs/b runs/c": {"runs": ["runs/a", "runs/b", "runs/c"]},
    "replay --step 3 runs/a": {"run": "runs/a", "step": 3},
    "tokenize Hello world": "unexpected 'world'; put a text of several words in quotes",
    "tokenize -the": "unknown argument '-the' (see gpt2 tokenize --help)",
    "tran": "there is no command 'tran'; did you mean gpt2 train?",
    "generate --prompt x": "there is no command 'generate'; did you mean gpt2 sample?",
    "evalute runs/a": "there is no command 'evalute'; did you mean gpt2 eval?",
    "help generate": "there is no command 'generate'; did you mean gpt2 sample?",
    "info gpt2": "gpt2 is a preset, not a folder: gpt2 info --preset gpt2",
    "my.txt": "there is no command 'my.txt'; choose from train, sample",
    "--steps 5": "unknown argument '--steps'; gpt2 train has --steps",
    "": "usage: gpt2",
}
"""A line, and what of its values is understood, or a phrase of what is said as it is refused."""

SHOWN = {
    "-h": "usage: gpt2 [-h]",
    "help": "usage: gpt2 [-h]",
    "help help": "usage: gpt2 [-h]",
    "help --help": "usage: gpt2 [-h]",
    "help train": "usage: gpt2 train [TEXT] ",
    "train help": "usage: gpt2 train [TEXT] ",
    "sample --stepz 3 -h": "usage: gpt2 sample RUN ",
    "version": "gpt2 0.",
    "--version": "gpt2 0.",
    "-V": "gpt2 0.",
}


def said_to(line, understood=None):
    """The exit code of a command line, what it prints, and what it says on standard error; what is understood is not done."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if understood is not None:
            for name in ("_run", "_together"):
                patch.setattr(cli, name, lambda args: understood.append(args) or 0)
        try:
            code = main(shlex.split(line))
        except SystemExit as end:
            code = end.code
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_understood_or_refused_with_what_to_write(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = LINES[line]
    understood = [] if isinstance(expected, dict) else None
    code, out, err = said_to(line, understood)
    assert "Traceback" not in err
    assert out == ""
    if understood is not None:
        assert code == 0
        assert {name: getattr(understood[0], name) for name in expected} == expected
    else:
        assert code == 2
        assert expected in err
    if line:
        check_that_what_it_names_is_there(err, line)


def check_that_what_it_names_is_there(said, line=""):
    """Each flag that a text names is one of the command that it names before it, or else of the command of the line."""
    command = line.split()[0] if line else "train"
    parsers = _parser().others
    for there, flag in re.findall(r"gpt2 ([a-z]+)|(?<![\w-])(--?[\w-]+)", said.replace("mpiexec -n", "")):
        command = there if there in parsers else command
        if flag and not re.search(rf"(?<![\w-]){flag}\b", line):
            assert flag == "--help" or flag in parsers[command].flags, (flag, command, said)


@pytest.mark.parametrize("line", SHOWN)
def test_help_and_version(line):
    code, out, err = said_to(line)
    assert (code, err) == (0, "")
    assert out.startswith(SHOWN[line])


def test_words_of_others_lead_to_what_there_is():
    """Every flag and command on the right is there, and no word on the left is one of ours already."""
    parsers = _parser().others
    flags = {flag for parser in parsers.values() for flag in parser.flags}
    assert {flag for ours in FLAGS_OF.values() for flag in ours} <= flags
    assert not [word for word in (*FLAGS_OF, *SENTENCE_OF, *COMMAND_OF) if "_" in word]
    assert set(COMMAND_OF.values()) <= COMMANDS.keys()
    assert not COMMAND_OF.keys() & COMMANDS.keys()
    for word, sentence in SENTENCE_OF.items():
        check_that_what_it_names_is_there(sentence, f"train {word}")


def test_a_word_of_others_is_noted():
    assert said_to("train --n_embd 8 --lr=1 --batch_size 2", [])[2] == (
        "gpt2 train: note: here --n_embd is --d-model, --lr is --learning-rate\n"
    )


def test_all_unknown_words_are_said_at_once():
    err = said_to("train --device=cpu --compile=False --stepz 3 --n_layer=2")[2]
    assert re.findall(r"gpt2 train: error: (?:unknown argument ')?(--\w+)", err) == ["--device", "--compile", "--stepz"]


def test_several_texts_are_not_lost():
    understood = []
    code, _, err = said_to("train a.txt --steps 3 b.txt", understood)
    assert list(understood[0].data) == ["a.txt", "b.txt"] if understood else (code, "'a.txt' and 'b.txt'" in err) == (2, True)


if __name__ == "__main__":
    for n, (line, expected) in enumerate((LINES | SHOWN).items(), 1):
        code, out, err = said_to(line, [] if isinstance(expected, dict) else None)
        first = (err if len(err) < 500 else err.partition("\n")[0]) or out.partition("\n")[0] or "(understood)"
        sys.stdout.write(f"{n:2} gpt2 {line}\n     {code}: {first.strip()}\n".replace("\ngpt2", "\n        gpt2"))
