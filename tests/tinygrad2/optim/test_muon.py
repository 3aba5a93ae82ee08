"""Muon against its polynomial applied to exact singular values, and against PyTorch's."""

import numpy as np
import pytest

from tinygrad2 import nn, optim
from tinygrad2.errors import TinygradError
from tinygrad2.kernels.fast import threads

SHAPES = [(3, 5), (5, 3), (4, 4), (1, 6), (6, 1), (1, 1)]


def by_singular_values(g, iterations):
    """U p(p(...p(S / |S|))) V^T, where p(s) = 3.4445 s - 4.775 s^3 + 2.0315 s^5."""
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(iterations):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    return u * s @ vt


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 1e-200, 1e200])
@pytest.mark.parametrize("iterations", [0, 1, 3, 5])
def test_the_polynomial_acts_on_the_singular_values(rng, shape, size, iterations):
    g = rng.standard_normal(shape)
    found = optim.orthogonalised(size * g, iterations)
    np.testing.assert_allclose(found, by_singular_values(g, iterations), rtol=1e-9, atol=1e-12)


def test_five_iterations_leave_directions_of_about_one_length(rng):
    g = (rng.standard_normal((40, 60)) * np.exp(rng.normal(0, 1, 60))).astype(np.float32)
    found = optim.orthogonalised(g)
    assert found.dtype == np.float32
    assert found.shape == g.shape
    singular = np.linalg.svd(found, compute_uv=False)
    assert 0.6 < singular.min() < singular.max() < 1.25
    np.testing.assert_array_equal(optim.orthogonalised(np.zeros((2, 3))), np.zeros((2, 3)))


@pytest.mark.parametrize("iterations", [5, 10, 12])
def test_rounding_gives_no_direction_more_than_its_length(rng, iterations):
    """A matrix of one direction has others in float32, by rounding, which the polynomial must not take beyond its range."""
    g = np.outer(rng.standard_normal(128), rng.standard_normal(128)).astype(np.float32)
    found = optim.orthogonalised(g, iterations)
    assert 0.6 < np.linalg.norm(found, 2) < 1.25


def matrices(rng):
    return [nn.Parameter(rng.standard_normal(shape)) for shape in [(6, 4), (4, 6), (5, 5)]]


@pytest.mark.oracle
def test_ten_steps_as_pytorch(torch, rng, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x)  # theirs rounds in the iterations
    mine, bias, settings = matrices(rng), nn.Parameter(rng.standard_normal(3)), {"momentum": 0.8, "weight_decay": 0.3}
    other = [torch.tensor(p.data, requires_grad=True) for p in mine]
    theirs = torch.optim.Muon(other, lr=0.04, **settings)
    ours = optim.Muon([*mine, bias], mine, lr=0.01, matrix_lr=0.02, **settings)
    ours.lr = 0.02  # twice what it was: so are the matrices'
    for step in range(10):
        gradients = [rng.standard_normal(p.shape) * 10.0**-step for p in mine]
        for p, g in zip(other, gradients, strict=True):
            p.grad = torch.tensor(g)
        ours.step([*gradients, None])
        theirs.step()
        for p, q in zip(mine, other, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_all_others_are_moved_by_adamw(rng):
    ps, same = [[nn.Parameter(x.copy()) for x in (np.ones((3, 4)), np.ones((4, 2)), np.ones(2))] for _ in range(2)]
    muon = optim.Muon(ps, ps[:1], 0.01, weight_decay=0.5)
    adamw = optim.AdamW(same, 0.01, weight_decay=0.5)
    for _ in range(3):
        gradients = [rng.standard_normal(p.shape) for p in ps]
        muon.step(gradients, 0.5)
        adamw.step(gradients, 0.5)
    np.testing.assert_array_equal(ps[1].data, same[1].data)
    np.testing.assert_array_equal(ps[2].data, same[2].data)
    assert abs(ps[0].data - same[0].data).max() > 1e-3
    assert [sorted(state) for state in muon.state] == [["momentum"], ["mean", "square"], ["mean", "square"]]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_matrices_side_by_side_move_as_if_they_were_apart(rng, n):
    apart = [nn.Parameter(rng.standard_normal((7, 4))) for _ in range(n)]
    together = nn.Parameter(np.concatenate([p.data for p in apart], axis=1))
    one, several = optim.Muon([together], [(together, n)]), optim.Muon(apart, apart)
    for _ in range(3):
        gradients = [rng.standard_normal((7, 4)) for _ in range(n)]
        one.step([np.concatenate(gradients, axis=1)])
        several.step(gradients)
    np.testing.assert_allclose(together.data, np.concatenate([p.data for p in apart], axis=1), rtol=1e-12)


def test_threads_change_nothing(rng):
    found = []
    for count in (1, 3):
        again = np.random.default_rng(5)
        ps = matrices(again)
        optimizer = optim.Muon(ps, ps)
        with threads.pool(count):
            for _ in range(3):
                optimizer.step([again.standard_normal(p.shape) for p in ps])
        found.append([p.data for p in ps])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_matrix_without_columns_stays_one():
    p = nn.Parameter(np.ones((3, 0)))
    optim.Muon([p], [p]).step([np.ones((3, 0))])
    assert p.shape == (3, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda w, b: optim.Muon([b], [w]), r"Muon: the matrix of shape \(2, 3\) is not among the parameters"),
        (lambda w, b: optim.Muon([w, b], [b]), r"Muon: the matrix of shape \(3,\) does not have two axes: leave it to AdamW"),
        (lambda w, b: optim.Muon([w], [(w, 2)]), r"Muon: 2 equal matrices do not stand side by side in one of shape \(2, 3\)"),
        (lambda w, b: optim.Muon([w], [(w, 0)]), "Muon: 0 equal matrices do not stand"),
        (lambda w, b: optim.Muon([w], [(w, 1.5)]), "Muon: 1.5 equal matrices do not stand"),
        (lambda w, b: optim.Muon([w], [(w, 1, 2)]), "Muon: a tuple of 3 is among the matrices"),
        (lambda w, b: optim.Muon([w], [w, (w, 3)]), r"Muon: the matrix of shape \(2, 3\) is given twice"),
        (lambda w, b: optim.Muon([w], w), "is not a list of matrices"),
        (lambda w, b: optim.Muon([w], [w], lr=0), "lr=0 and matrix_lr=0.02 must be above 0"),
    ],
)
def test_what_it_refuses(make, message):
    with pytest.raises(TinygradError, match=message):
        make(nn.Parameter(np.ones((2, 3))), nn.Parameter(np.ones(3)))
