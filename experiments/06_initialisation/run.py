"""Why Xavier, and why does GPT-2 not use it?

Through a deep stack of layers, weights that are too small shrink every signal, and weights that are too large saturate it.
Xavier's scale follows from the shape of each matrix. GPT-2 has one number for all of them, which suits its own width.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments import small_training
from experiments.harness import Claim, Result, Track, interval, with_interval
from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, autograd, nn, no_grad

WIDTH, DEPTH = 128, 30  # of the tanh network
STDS = {"N(0, 0.01²)": 0.01, "N(0, 1)": 1.0, "Xavier": math.sqrt(2 / (WIDTH + WIDTH))}
C, BLOCKS = 32, 4  # of the GPT-2 that is trained
INITS = ("Xavier", "N(0, 0.02²)", "N(0, 0.02²), scaled")
GPT2_SMALL = {"c_attn": (768, 3 * 768), "attn.c_proj": (768, 768), "c_fc": (768, 4 * 768), "mlp.c_proj": (4 * 768, 768)}


def through_tanh(init: str, seed: int) -> list[list[float]]:
    """By layer: standard deviation of the activations, that of their gradients, and the share of activations beyond 0.99."""
    rng = np.random.default_rng(seed)
    h = Tensor(rng.standard_normal((64, WIDTH)), requires_grad=True)
    layers = [h]
    for _ in range(DEPTH):
        shape = WIDTH, WIDTH
        w = nn.init.xavier_uniform(shape, rng) if init == "Xavier" else nn.init.normal(shape, STDS[init], rng)
        h = np.tanh(h @ w.astype(np.float64))
        layers.append(h)
    gradients = autograd.grad((h * rng.standard_normal(h.shape)).sum(), layers)
    stds = [[float(x.data.std()) for x in xs] for xs in (layers, gradients)]
    return [*stds, [float(np.mean(np.abs(x.data) > 0.99)) for x in layers]]


def model(init: str, seed: int, blocks: int = BLOCKS) -> GPT2:
    """A GPT-2 that starts like this; scaled says that the projections onto the residual stream start smaller."""
    V = small_training.text()[2]
    shape: dict[str, Any] = {"vocab_size": V, "max_seq_len": 32, "d_model": C, "num_layers": blocks, "num_heads": 4}
    gpt2 = GPT2(GPT2Config(**shape, init="xavier" if init == "Xavier" else "gpt2"), seed=seed)
    if init == "N(0, 0.02²)":
        for name, p in gpt2.named_parameters():
            if name.endswith("c_proj.weight"):
                p.data = p.data * np.float32(math.sqrt(2 * blocks))
    return gpt2


def added(init: str, seed: int, blocks: int) -> float:
    """The variance of what the blocks of an untrained GPT-2 have added to its residual stream."""
    gpt2, ids = model(init, seed, blocks), small_training.text()[1][:32]
    with no_grad():
        start = x = gpt2.wte(ids) + gpt2.wpe(np.arange(len(ids)))
        for block in gpt2.h:
            x = block(x)
    return float((x - start).data.var())


def measure(track: Track, quick: bool, control: bool) -> Result:
    train_ids, val_ids, V = small_training.text()
    seeds, steps, depths = range(5), 10 if quick else 200, [2, 4] if quick else [2, 4, 8, 16]
    drawn = {"Xavier": "N(0, 0.01²)"} if control else {}  # the control draws Xavier's tanh network as N(0, 0.01²)
    tanh = {init: [through_tanh(drawn.get(init, init), seed) for seed in seeds] for init in STDS}
    starts, curves, late, ends = ({init: [] for init in INITS} for _ in range(4))
    for seed, init in track([(seed, init) for seed in seeds for init in INITS]):
        gpt2 = model(init, seed)
        starts[init].append(small_training.evaluate(gpt2.loss, val_ids))
        curves[init].append(small_training.train(gpt2, gpt2.loss, train_ids, steps, seed=seed))
        late[init].append(float(np.mean(curves[init][-1][-steps // 5 :])))
        ends[init].append(small_training.evaluate(gpt2.loss, val_ids, windows=64 if quick else 512))
    return {
        "tanh": {init: np.moveaxis(rows, 1, 0).round(34).tolist() for init, rows in tanh.items()},
        "residual": {init: [[added(init, seed, n) for n in depths] for seed in seeds] for init in INITS[1:]},
        "depths": depths,
        "ln_V": math.log(V),
        "steps": steps,
        "starts": starts,
        "curves": {init: np.mean(c, axis=0).round(4).tolist() for init, c in curves.items()},
        "late": late,
        "ends": ends,
        "xavier_of_gpt2": {name: math.sqrt(2 / sum(shape)) for name, shape in GPT2_SMALL.items()},
    }


def claims(result: Result) -> list[Claim]:
    shrinks, saturates, xavier = (np.array(result["tanh"][init]) for init in STDS)  # (3, seeds, layers) each
    over = {init: np.subtract(result["starts"][init], result["ln_V"]) for init in INITS}
    plain, scaled = (np.array(result["residual"][init]) for init in INITS[1:])
    growth, kept = plain[:, -1] / plain[:, 0], scaled[:, -1] / scaled[:, 0]
    times = result["depths"][-1] / result["depths"][0]
    ends = {init: np.array(of) for init, of in result["ends"].items()}
    gap = {name: np.subtract(result[name]["Xavier"], result[name][INITS[2]]) for name in ("starts", "late", "ends")}
    stds = result["xavier_of_gpt2"].values()
    return [
        Claim(
            f"Through {DEPTH} layers of tanh, N(0, 0.01²) shrinks the activations from {shrinks[0, :, 0].mean():.1g} to "
            f"{shrinks[0, :, -1].mean():.1g}, and the gradient on its way back from 1 to {shrinks[1, :, 0].mean():.1g}.",
            shrinks[:2, :, [-1, 0]].mean(1).diagonal().max() < 1e-20,
        ),
        Claim(
            f"N(0, 1) saturates: {saturates[2, :, -1].mean():.0%} of the last activations are beyond 0.99; and "
            f"where a gradient passes, the weights multiply it, to {saturates[1, :, 0].mean():.1g} at the first layer.",
            saturates[2, :, -1].min() > 0.5 and saturates[1, :, 0].mean() > 1e6,
        ),
        Claim(
            f"Xavier does neither: the activations end at {with_interval(xavier[0, :, -1])}, the gradient at "
            f"{with_interval(xavier[1, :, 0])}, and {xavier[2, :, -1].mean():.0%} are saturated.",
            interval(xavier[0, :, -1])[0] > 0.05 and interval(xavier[1, :, 0])[0] > 0.05 and xavier[2, :, -1].max() < 0.05,
        ),
        Claim(
            f"Before the first step GPT-2's two give the loss of a guess, ln V = {result['ln_V']:.3f}, but for "
            f"{with_interval(over[INITS[1]])} and {with_interval(over[INITS[2]])}; Xavier's is "
            f"{with_interval(over['Xavier'])} above it.",
            interval(over["Xavier"])[0] > 0.1 and max(np.abs(over[init]).max() for init in INITS[1:]) < 0.1,
        ),
        Claim(
            f"From {result['depths'][0]} to {result['depths'][-1]} blocks, {times:.0f} times as many, what they add to the "
            f"residual stream grows {with_interval(growth, 1)} times in variance under N(0, 0.02²), and "
            f"{with_interval(kept, 2)} times where the projections are scaled by 1/sqrt(2 blocks).",
            interval(growth)[0] > times / 2 and 0.5 < interval(kept)[0] < interval(kept)[1] < 2,
        ),
        Claim(
            f"Training makes up for most of it: Xavier's loss begins {with_interval(gap['starts'])} above that of the scaled "
            f"start. In the last fifth of {result['steps']} steps its training loss is {with_interval(gap['late'])} above, and "
            f"after them its validation loss {with_interval(gap['ends'])}: "
            f"{', '.join(f'{of.mean():.3f} ({init})' for init, of in ends.items())}.",
            all(interval(gap["starts"] - gap[name])[0] > 0 for name in ("late", "ends")),
        ),
        Claim(
            f"At GPT-2's own width of 768 Xavier's numbers for the matrices of a block are {min(stds):.3f} to "
            f"{max(stds):.3f}: there 0.02 is nearly the same.",
            max(stds) < 2 * 0.02,
        ),
    ]


def draw(result: Result, figure: Any) -> None:
    figure.set_size_inches(11, 4)
    figure.suptitle("Xavier keeps a deep signal alive; GPT-2 starts at the loss of a guess; training makes up for most of it")
    left, middle, right = figure.subplots(1, 3)
    for init, colour in zip(STDS, ("tab:blue", "tab:red", "tab:green"), strict=True):
        forward, backward, _ = np.array(result["tanh"][init]).mean(1)
        left.plot(forward, color=colour, label=init)
        left.plot(backward, ":", color=colour)
    left.plot([], [], color="0.5", label="activation")
    left.plot([], [], ":", color="0.5", label="its gradient")
    left.set(yscale="log", ylim=(1e-32, 1e32), xlabel=f"layer of a tanh network of width {WIDTH}", ylabel="standard deviation")
    colours = dict(zip(INITS, ("tab:green", "tab:orange", "tab:blue"), strict=True))
    for init in INITS[1:]:
        rows = np.array(result["residual"][init])
        middle.plot(result["depths"], rows.mean(0), "o-", color=colours[init], label=init)
        middle.fill_between(result["depths"], rows.min(0), rows.max(0), color=colours[init], alpha=0.2, linewidth=0)
    middle.set(xscale="log", yscale="log", xlabel="blocks", ylabel="variance that untrained blocks add")
    middle.set_xticks(result["depths"], [str(n) for n in result["depths"]])
    middle.minorticks_off()
    for init in INITS:
        right.plot(result["curves"][init], color=colours[init], label=init, linewidth=1)
    right.axhline(result["ln_V"], color="0.5", linestyle=":")
    right.text(result["steps"], result["ln_V"], "a guess: ln V", ha="right", va="bottom", color="0.4")
    right.set(xlabel="step", ylabel="training loss (nats per character)")
    for axes in (left, middle, right):
        axes.legend(frameon=False, ncols=2 if axes is left else 1, loc="upper left" if axes is left else "best")
        axes.grid(alpha=0.25)
