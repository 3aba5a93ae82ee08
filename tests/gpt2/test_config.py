"""Settings: presets, checks, TOML."""

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
        (lambda: GPT2Config.preset("huge"), "preset 'huge' is unknown; there is tiny"),
        (lambda: GPT2Config(d_model=100, num_heads=3), "d_model = 100 is not divisible by num_heads = 3"),
        (lambda: GPT2Config(num_layers=0), "num_layers = 0 must be at least 1"),
        (lambda: GPT2Config(dropout=1.0), r"dropout = 1\.0 must be in \[0, 1\)"),
        (lambda: GPT2Config(init="magic"), "init = 'magic' must be xavier or gpt2"),
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
        (lambda: TrainConfig(data="a\0b"), r"data = 'a\\x00b' must be at most 4096 characters, none of them zero"),
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
