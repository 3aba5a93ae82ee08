"""What `gpt2 train --minutes` chooses: the rule, the trainings that it is made from, and what is given instead."""

import itertools
import math

import pytest

from experiments.dial import run as trainings
from gpt2.cli import main
from gpt2.config import GPT2Config, TrainConfig
from gpt2.errors import ConfigError
from gpt2.run.folder import Run
from gpt2.training import dial
from gpt2.training.dial import Task, choices
from gpt2.training.loop import Training

LONG_TEXT = Task(2.4e6, 4e6, 100)


def chosen(task, **given):
    return {**{name: value for one in choices(task, given) for name, value in one.settings.items()}, **given}


CASES = {(row["corpus"], row["minutes"]): [] for row in trainings.rows() if row["minutes"] > 1}
for row in trainings.rows():
    CASES.get((row["corpus"], row["minutes"]), []).append(row)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_on_every_text_that_was_tried_it_is_near_the_best_and_better_than_tiny(case):
    found = trainings.of_the_rule(CASES[case])
    assert found, "no training has the settings of the rule: make one"
    assert found["bits_per_byte"] <= min(row["bits_per_byte"] for row in CASES[case]) + 0.03
    assert all(found["bits_per_byte"] < row["bits_per_byte"] for row in CASES[case] if row["settings"] == {"preset": "tiny"})


def test_there_are_six_texts_of_two_lengths_and_their_table_is_in_the_readme():
    assert CASES.keys() >= {(corpus, minutes) for corpus in trainings.CORPORA for minutes in (1.8, 5.4)}
    assert trainings.table() in trainings.ROWS.with_name("README.md").read_text("utf-8")


def epochs(row):
    """How often a training of the rule read its text."""
    characters = (1 - trainings.CORPORA[row["corpus"]]) * row["characters"]
    by_character = next(
        one["bytes_per_token"]
        for one in trainings.rows()
        if one["corpus"] == row["corpus"] and trainings.settings_of(one)["tokenizer"] == "char"
    )
    return row["steps"] * dial.TOKENS / (characters * by_character / row["bytes_per_token"])


def test_what_more_time_brings_was_foretold():
    """From every training of the rule to each longer one of its text: what two to ten times the time brought, as doublings."""
    found = []
    for corpus in trainings.CORPORA:
        cases = [rows for (name, _), rows in sorted(CASES.items()) if name == corpus]
        of_rule = [row for row in map(trainings.of_the_rule, cases) if row]
        for row, later in itertools.combinations(sorted(of_rule, key=lambda row: row["minutes"]), 2):
            low, high = dial.twice(1.0, epochs(row))
            doublings = math.log2(later["minutes"] / row["minutes"])
            found.append(low <= (later["bits_per_byte"] / row["bits_per_byte"]) ** (1 / doublings) <= high)
    assert len(found) > 9
    assert sum(found) >= 8 / 9 * len(found)
    low, high = dial.twice(2.0, 4.0)
    assert 2 * 0.9 < low < high < 2


def test_each_row_is_a_training_of_its_own():
    keys = [trainings.key(row) for row in trainings.rows()]
    assert len(set(keys)) == len(keys)
    assert all(row["corpus"] in trainings.CORPORA for row in trainings.rows())


@pytest.mark.parametrize("characters", [700, 49_999, 50_000, 3e5, 1e6, 5e7, 2e9])
@pytest.mark.parametrize("reach", [1e3, 2e6, 8e6, 3e7, 1e10])
@pytest.mark.parametrize("alphabet", [2, 70, 5000, 200_000])
def test_whatever_the_task_the_settings_can_be_trained(characters, reach, alphabet):
    found = chosen(Task(reach, characters, alphabet))
    GPT2Config.preset(dial.BASE, **{k: v for k, v in found.items() if k in GPT2Config.__dataclass_fields__})
    TrainConfig.preset(dial.BASE, **{k: v for k, v in found.items() if k in TrainConfig.__dataclass_fields__})
    assert found["tokenizer"] == "char" or 256 < found["vocab_size"] <= dial.MOST_PAIRS


@pytest.mark.parametrize(
    "given",
    [
        {"d_model": 100},
        {"num_heads": 3},
        {"num_heads": 5, "num_layers": 7},
        {"max_seq_len": 1000},
        {"d_model": 48, "num_heads": 6},
        {"tokenizer": "bpe"},
        {"tokenizer": "byte", "dropout": 0.7},
        {"learning_rate": 1e-4, "batch_size": 3},
    ],
    ids=str,
)
def test_what_is_given_stays_and_the_rest_follows_it(given):
    for task in (LONG_TEXT, Task(2e6, 2e4, 60)):
        found = choices(task, given)
        assert not any(given.keys() & one.settings.keys() for one in found)
        settings = chosen(task, **given)
        model = GPT2Config(**{"architecture": "modern"} | {k: v for k, v in settings.items() if hasattr(GPT2Config, k)})
        assert {name: getattr(model, name) for name in given if hasattr(model, name)} == {
            name: value for name, value in given.items() if hasattr(model, name)
        }
        assert "batch_size" in given or 1 <= settings["batch_size"] * settings["max_seq_len"] <= max(
            768, settings["max_seq_len"]
        )
        assert ("vocab_size" in settings) == (settings["tokenizer"] == "bpe")


@pytest.mark.parametrize("given", [{"d_model": 0}, {"num_heads": "4"}, {"max_seq_len": -1}], ids=str)
def test_a_size_that_is_none_is_refused_by_its_name(given):
    with pytest.raises(ConfigError, match=next(iter(given))):
        choices(LONG_TEXT, given)


def test_longer_trainings_get_more_dropout_and_never_less():
    for characters in (2e4, 4e5, 5e6):
        rates = [chosen(Task(reach, characters, 80))["dropout"] for reach in (1e5, 1e6, 1e7, 1e8, 1e9)]
        if characters < 1e6:
            assert rates == sorted(rates)
        assert rates[0] < rates[-1]


@pytest.fixture
def slow(monkeypatch):
    """A machine that reads 1,000 tokens in a second."""
    monkeypatch.setattr(dial, "pace", lambda config: 1000.0)


SMALL = [
    "--d-model",
    "16",
    "--num-heads",
    "2",
    "--max-seq-len",
    "16",
    "--eval-every",
    "5",
    "--sample-tokens",
    "3",
    "--no-plots",
]


def train(tmp_path, *words):
    path = tmp_path / "some.txt"
    path.write_text("".join(f"line {i * i % 97} of a text, {i}\n" for i in range(200)), "utf-8")
    assert main(["train", str(path), *SMALL, "--out", str(tmp_path / "run"), *words]) == 0
    return Run(tmp_path / "run").read_config()


def test_the_command_says_what_it_chose_and_does_it(tmp_path, slow, capsys):
    about = train(tmp_path, "--minutes", "0.02")
    said = capsys.readouterr().out
    assert "chosen for 0.02 minutes on this machine, enough for 1,200 tokens" in said
    task = Task(1200.0, 0.9 * about.corpus.characters, 0)
    expected = chosen(task, d_model=16, num_heads=2, max_seq_len=16)
    for name, value in expected.items():
        assert getattr(about.training, name, None) == value or getattr(about.model, name, None) == value, name
    assert about.model.architecture == "modern"
    assert about.training.batch_size == 48
    for why in (one.why for one in choices(task, {"d_model": 16, "num_heads": 2, "max_seq_len": 16})):
        assert why in said


@pytest.mark.parametrize(
    "words",
    [["--preset", "tiny", "--minutes", "0.01"], ["--optimizer", "adamw", "--minutes", "0.01"], ["--steps", "3"]],
    ids=["preset", "optimizer", "steps"],
)
def test_nothing_is_chosen_for_a_preset_another_optimizer_or_steps(tmp_path, monkeypatch, capsys, words):
    monkeypatch.setattr(dial, "pace", None)
    assert train(tmp_path, *words).model.architecture == "gpt2"
    assert "chosen for" not in capsys.readouterr().out


def test_the_pace_is_that_of_the_reference():
    assert 100 < dial.pace(TrainConfig(threads=1)) < 1e7


def test_more_time_is_promised_to_a_training_that_took_all_of_its_own(tmp_path, slow, monkeypatch, capsys):
    train(tmp_path, "--minutes", "0.02")
    assert "in twice the minutes" in capsys.readouterr().out
    (tmp_path / "early").mkdir()
    fit = Training.fit
    monkeypatch.setattr(Training, "fit", lambda self, interrupts: fit(self, interrupts) or True)  # as --patience ends it
    train(tmp_path / "early", "--minutes", "0.02")
    assert "in twice the minutes" not in capsys.readouterr().out
