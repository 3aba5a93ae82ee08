"""Settings: presets, checks, TOML."""

from dataclasses import asdict, replace

import pytest

from gpt2 import GPT2Config, TrainConfig
from gpt2.config import PRESETS, read_toml
from gpt2.errors import ConfigError


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_every_key_is_used(name):
    model, training = GPT2Config.preset(name), TrainConfig.preset(name)
    for key, value in PRESETS[name].items():
        assert getattr(model, key, getattr(training, key, None)) == value
    assert model.d_ff == 4 * model.d_model


def test_an_override_changes_what_depends_on_it():
    assert GPT2Config.preset("tiny", d_model=256).d_ff == 1024
    assert GPT2Config.preset("tiny", d_model=256, d_ff=100).d_ff == 100


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GPT2Config.preset("huge"), "preset 'huge' is unknown; choose from tiny"),
        (lambda: GPT2Config(d_model=100, num_heads=3), "d_model = 100 is not divisible by num_heads = 3"),
        (lambda: GPT2Config(num_layers=0), "num_layers = 0 must be at least 1"),
        (lambda: GPT2Config(dropout=1.0), r"dropout = 1\.0 must be in \[0, 1\)"),
        (lambda: GPT2Config(init="magic"), "init = 'magic' must be xavier, gpt2 or zero"),
        (lambda: GPT2Config(d_model="768"), "d_model = '768' is str; it must be int"),
        (lambda: GPT2Config(bias=1), "bias = 1 is int; it must be bool"),
        (lambda: TrainConfig(learning_rate=float("nan")), "learning_rate = nan must be a finite number"),
        (lambda: TrainConfig(steps=0), "steps = 0 must be at least 1"),
        (lambda: TrainConfig(schedule="up"), "schedule = 'up' must be cosine, linear, constant or wsd"),
        (lambda: TrainConfig(val_fraction=1), r"val_fraction = 1\.0 must be in \(0, 1\)"),
        (lambda: TrainConfig(beta2=1.0), r"beta2 = 1\.0 must be in \[0, 1\)"),
        (lambda: GPT2Config(num_layers=10**9), "num_layers = 1000000000 must be at most 1,000"),
        (lambda: TrainConfig(steps=2**63), "steps = 9223372036854775808 must be at most 1,000,000,000,000"),
        (lambda: TrainConfig(learning_rate=10**400), r"learning_rate = 1000.*\.\.\..* is int; it must be float"),
        (lambda: TrainConfig(data="a\0b"), r"data = 'a\\x00b' must be at most 4096 characters, without NUL"),
        (lambda: TrainConfig(seed=-1), "seed = -1 must be 0 or more"),
    ],
)
def test_values_that_cannot_be(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_toml(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text('preset = "small"\nsteps = 7\nlearning_rate = 1\n')
    assert read_toml(path) == {"preset": "small", "steps": 7, "learning_rate": 1}
    path.write_text("stepz = 7\n")
    with pytest.raises(ConfigError, match="unknown setting stepz"):
        read_toml(path)
    path.write_text("steps = = 7\n")
    with pytest.raises(ConfigError, match=r"my\.toml is not TOML"):
        read_toml(path)
    with pytest.raises(ConfigError, match=r"nope\.toml: No such file"):
        read_toml(tmp_path / "nope.toml")


FOLLOWS = [  # steps, and then: warm-up, evaluation, saving
    (4, 0, 10, 10),
    (100, 5, 13, 13),
    (200, 10, 25, 25),
    (2000, 100, 250, 250),
    (4000, 100, 500, 500),
    (100_000, 100, 1000, 1000),
]


@pytest.mark.parametrize(("steps", "warmup", "evaluation", "saving"), FOLLOWS)
def test_what_follows_the_number_of_steps(steps, warmup, evaluation, saving):
    config = TrainConfig(steps=steps)
    assert (config.warmup_steps, config.eval_every, config.save_every) == (warmup, evaluation, saving)
    given = TrainConfig(steps=steps, warmup_steps=0, eval_every=7, save_every=3, eval_windows=0)
    assert (given.warmup_steps, given.eval_every, given.save_every, given.eval_windows) == (0, 7, 3, 0)
    longer = replace(config, steps=10 * steps)  # as a run that goes on with more steps
    assert replace(longer, steps=steps) == config


def test_the_presets_keep_their_recipes():
    tiny, nano = TrainConfig.preset("tiny-adamw"), TrainConfig.preset("nanogpt-cpu")
    assert (tiny.steps, tiny.warmup_steps, tiny.eval_every, tiny.save_every) == (4000, 100, 500, 500)
    muon = TrainConfig.preset("tiny")
    assert muon.steps * muon.batch_size == tiny.steps * tiny.batch_size  # as much text
    assert (nano.steps, nano.warmup_steps, nano.eval_every, nano.save_every) == (2000, 100, 250, 250)
    short = TrainConfig.preset("tiny", steps=100)
    assert (short.warmup_steps, short.eval_every, short.save_every) == (5, 13, 13)


def test_what_follows_tells_no_training_from_another():
    chosen = TrainConfig.preset("tiny", steps=300).chosen()
    assert {name for name, value in TrainConfig.preset("tiny").chosen().items() if chosen[name] != value} == {"steps"}
    assert not {"warmup_steps", "eval_every", "eval_windows", "save_every"} & set(chosen)
    given = TrainConfig(eval_every=70, warmup_steps=100, eval_windows=0).chosen()
    assert (given["eval_every"], given["eval_windows"]) == (70, 0)
    assert not {"warmup_steps", "save_every"} & set(given)  # given, and as it would be anyway


@pytest.mark.parametrize("steps", [50, 100, 1000, 4000, 123_456, 10**12])
@pytest.mark.parametrize("batch_size", [1, 6, 500])
@pytest.mark.parametrize("every", [0, 1, 99, 10**12])
def test_evaluations_take_a_tenth_of_the_time_or_the_fewest_windows(steps, batch_size, every):
    """A forward counts as a third of a step: so many windows, at step 0, at every multiple, and at the end."""
    config = TrainConfig(steps=steps, batch_size=batch_size, eval_every=every)
    evaluations = 1 + steps // config.eval_every + bool(steps % config.eval_every)
    share = evaluations * config.eval_windows / (3 * steps * batch_size)
    assert share <= 0.1 or config.eval_windows == 32
    assert share + evaluations / (3 * steps * batch_size) >= 0.1 - 1e-9 or config.eval_windows == 10**12
    TrainConfig(**asdict(config))  # can be read again
