"""By recursion, with vectors, and drawing in another order."""

import numpy as np


def agree(measured, claimed):
    far = np.abs(np.subtract(measured, claimed))
    return np.less_equal(far, 1e-8 + 1e-4 * np.max(np.abs([measured, claimed])))


def slopes(forward, backward, args, i, dout, u):
    def at(step):
        moved = list(args)
        moved[i] = moved[i] + step * u
        out, cache = forward(*moved)
        return np.vdot(dout, out), cache

    (above, _), (below, _) = at(1e-5), at(-1e-5)
    return (above - below) / 2e-5, np.vdot(backward(dout, at(0.0)[1])[i], u)


def suspects(pairs, rng):
    def wrong(forward, backward, args, i):
        u = rng.standard_normal(args[i].shape)
        dout = rng.standard_normal(forward(*args)[0].shape)
        return not agree(*slopes(forward, backward, args, i, dout, u))

    return [(name, i) for name, pair in pairs.items() for i in range(len(pair[2])) if wrong(*pair, i)]


def faulty_layer(n, probe):
    def first_right(low, high):
        if low == high:
            return low
        middle = (low + high - 1) // 2
        return first_right(low, middle) if agree(*probe(middle)) else first_right(middle + 1, high)

    place = first_right(0, n)
    return None if place == 0 else place - 1
