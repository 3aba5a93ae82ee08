"""A network with two hidden layers tells two half-moons apart. It needs tinygrad2 alone: python docs/two_moons.py"""

import numpy as np

from tinygrad2 import nn, ops, optim


def two_moons(n, rng, noise=0.1):
    """n points (n, 2) on two half circles that reach into each other, and the half circle (n,) of each: 0 or 1."""
    label = rng.integers(0, 2, n)
    angle = rng.uniform(0, np.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], -1)
    points = np.where(label[:, None] == 0, upper, [1, 0.5] - upper)  # the other one is turned round and moved
    return (points + rng.normal(0, noise, (n, 2))).astype(np.float32), label


class Net(nn.Module):
    """2 coordinates -> 16 -> 16 -> 2 logits."""

    def __init__(self, rng):
        self.layers = [nn.Linear(2, 16, rng=rng), nn.Linear(16, 16, rng=rng), nn.Linear(16, 2, rng=rng)]

    def forward(self, x):  # (N, 2) -> (N, 2)
        for layer in self.layers[:-1]:
            x = np.tanh(layer(x))
        return self.layers[-1](x)


rng = np.random.default_rng(0)
(x, y), (test_x, test_y) = two_moons(500, rng), two_moons(1000, rng)

net = Net(rng)
optimizer = optim.AdamW(net.parameters(), lr=0.01)
for step in range(301):
    batch = rng.integers(0, len(x), 64)
    net.zero_grad()
    loss = ops.cross_entropy(net(x[batch]), y[batch])
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step:3}: loss {loss.item():.4f}")

accuracy = np.mean(np.argmax(net(test_x).data, axis=-1) == test_y)
print(f"accuracy on points it has not seen: {accuracy:.3f}")
