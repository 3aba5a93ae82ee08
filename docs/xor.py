"""A network with one hidden layer learns XOR, which no line can separate. It needs tinygrad2 alone: python docs/xor.py"""

import numpy as np

from tinygrad2 import nn, ops, optim


class Net(nn.Module):
    """2 inputs -> 4 hidden units with tanh -> 1 logit, the log-odds that the answer is 1."""

    def __init__(self, rng):
        self.hidden = nn.Linear(2, 4, rng=rng)
        self.out = nn.Linear(4, 1, rng=rng)

    def forward(self, x):  # (N, 2) -> (N,)
        return self.out(np.tanh(self.hidden(x)))[:, 0]


def loss(net, x, y):
    """Binary cross-entropy, -log P(answer), from the logits: softplus(z) - y z, the mean over the examples."""
    z = net(x)
    return np.mean(ops.softplus(z) - y * z)


x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
y = np.array([0, 1, 1, 0], np.float32)  # 1 where exactly one of the two inputs is 1

net = Net(np.random.default_rng(0))
optimizer = optim.Adam(net.parameters(), lr=0.05)
for step in range(201):
    net.zero_grad()  # gradients would add up otherwise
    error = loss(net, x, y)
    error.backward()  # from here on, each parameter p has p.grad
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step:3}: loss {error.item():.4f}")

correct = (net(x).data > 0) == (y == 1)
print(f"{correct.sum()} of {len(y)} answers are right")
