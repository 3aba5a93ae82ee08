"""Hand-written gradients: right ones are right; corrupted ones are caught, and the diagnosis names the corruption.

`pytest -s -m exhaustive` of this file checks all corruptions through both adapters and prints what is not named.
"""

import re

import hand_written
import numpy as np
import pytest
from hand_written import MUTANTS, RULES
from in_chinese import left_in_english

from tinygrad2.gradcheck import gradcheck

pytestmark = pytest.mark.slow


def checked(torch, name, rule):
    """The check of a rule for one of the functions, as a NumPy pair or inside of an autograd.Function."""
    f, _, inputs = RULES[name]
    inputs = [x.copy() for x in inputs]
    if torch is None:
        return gradcheck(f, inputs, vjp=rule)
    return gradcheck(as_function(torch, f, rule), [torch.from_numpy(x) for x in inputs])


def as_function(torch, f, rule):
    """The same function and rule in PyTorch."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *given):
            ctx.given = given
            return torch.from_numpy(np.array(f(*(x.detach().numpy() for x in given))))

        @staticmethod
        def backward(ctx, g):
            found = rule(g.numpy(), *(x.detach().numpy() for x in ctx.given))
            return (*(torch.from_numpy(np.array(c)) for c in found), *[None] * (len(ctx.given) - len(found)))

    names = ", ".join(hand_written.inspect_names(f))
    return eval(f"lambda {names}: F.apply({names})", {"F": Function})


def score(torch, mutants):
    """(those that were not caught, those that were not named)."""
    missed, unnamed = [], []
    for name, what, rule, said in mutants:
        result = checked(torch, name, rule)
        if result.verdict == "right":
            missed.append((name, what))
        elif not re.search(said, result.diagnosis):
            unnamed.append(f"{name}, {what}: {result.diagnosis[:200]}")
        assert not left_in_english("tinygrad2.gradcheck", [result.diagnosis])
    return missed, unnamed


@pytest.mark.parametrize("name", RULES)
def test_what_is_right_is_right(name):
    checked(None, name, RULES[name][1]).assert_right()


@pytest.mark.oracle
@pytest.mark.parametrize("name", RULES)
def test_what_is_right_is_right_in_pytorch(torch, name):
    checked(torch, name, RULES[name][1]).assert_right()


OWN = [mutant for mutant in MUTANTS if mutant[1] in {what for _, what, _, _ in hand_written.lacking()}]
SOME = MUTANTS[::15]


@pytest.mark.parametrize("which", [OWN, SOME], ids=["rules that lack something", "every fifteenth"])
def test_corruptions_are_caught_and_named(which):
    missed, unnamed = score(None, which)
    assert not missed
    assert len(unnamed) <= 0.05 * len(which), unnamed


@pytest.mark.oracle
def test_corruptions_are_caught_and_named_in_pytorch(torch):
    missed, unnamed = score(torch, MUTANTS[3::30])
    assert not missed
    assert len(unnamed) <= 0.1 * len(MUTANTS[3::30]), unnamed


@pytest.mark.exhaustive
@pytest.mark.oracle
@pytest.mark.parametrize("adapter", ["pairs", "pytorch"])
def test_all_corruptions_are_caught_and_at_least_nine_of_ten_named(adapter, request):
    torch = request.getfixturevalue("torch") if adapter == "pytorch" else None
    # PyTorch itself sums what a Function gives to the shape of its input, so there that is no corruption.
    missed, unnamed = score(torch, [m for m in MUTANTS if torch is None or m[:2] != ("difference", "not summed")])
    print(f"\n{adapter}: {len(MUTANTS)} corruptions, {len(missed)} missed, {len(unnamed)} not named", *unnamed, sep="\n")
    assert len(MUTANTS) >= 300
    assert not missed
    assert len(unnamed) <= 0.1 * len(MUTANTS)
