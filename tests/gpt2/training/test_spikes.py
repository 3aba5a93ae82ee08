"""What counts as a spike."""

import json
import math

import numpy as np

from gpt2.training.spikes import LEAST, Spikes


def fed(values, threshold=6.0, window=50):
    spikes = Spikes(threshold, window)
    for value in values:
        assert spikes.found({"loss": value}) is None
    return spikes


def test_a_spike_is_far_above_the_median_in_robust_deviations(rng):
    values = rng.normal(3, 0.1, 50)
    spikes = fed(values, threshold=8.0)
    deviation = 1.4826 * np.median(np.abs(values - np.median(values)))
    z = lambda count: {"loss": float(np.median(values) + count * deviation)}  # noqa: E731
    assert "8.1 robust standard deviations above" in spikes.found(z(8.1))
    assert spikes.found(z(7.9)) is None
    assert spikes.found({"loss": -100.0}) is None  # good news is none


def test_spikes_and_what_is_not_finite_never_enter_the_window(rng):
    spikes = fed(rng.normal(3, 0.1, 50))
    before = json.dumps(spikes.state())
    for value in (50.0, math.nan, math.inf, -math.inf):
        assert spikes.found({"loss": value})
    assert spikes.found({"loss": 3.0, "gradient norm": math.nan}) == "gradient norm is nan"
    assert json.dumps(spikes.state()) == before


def test_nothing_is_a_spike_before_there_is_something_to_compare_with():
    spikes = fed([1.0, 2.0] * (LEAST // 2 - 1) + [1.0])
    assert spikes.found({"loss": 1e9}) is None
    spikes = fed([1.0, 2.0] * (LEAST // 2))
    assert spikes.found({"loss": 1e9})


def test_a_threshold_of_0_lets_all_that_is_finite_pass():
    spikes = fed([1.0] * 40 + [1e30], threshold=0.0)
    assert spikes.found({"loss": math.nan}) == "loss is nan"


def test_equal_values_are_no_reason_to_call_the_next_one_a_spike():
    assert fed([2.0] * 40).found({"loss": 2.0 + 1e-6}) is None


def test_old_values_are_forgotten_and_a_state_restores_the_rest(rng):
    spikes = fed([*([100.0] * 30), *rng.normal(3, 0.1, 50)], threshold=1e9)
    assert len(spikes.state()["loss"]) == 50
    assert max(spikes.state()["loss"]) < 4
    other = Spikes(6.0, 50)
    other.restore(json.loads(json.dumps(spikes.state())))
    assert other.state() == spikes.state()
    assert other.found({"loss": 50.0})
