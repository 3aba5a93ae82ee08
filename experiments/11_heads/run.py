"""Why several heads, and what do Q, K and V learn?

Q and K learn where to look, V what to bring from there. One head brings one weighted mean, several bring several. And a head of
the second layer can look for what one of the first has brought: so two heads above each other find a repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.harness import Claim, Result, Track, interval, with_interval
from experiments.small_training import evaluate, text, train
from gpt2 import GPT2, GPT2Config
from tinygrad2 import Tensor, nn, no_grad, ops, optim
from tinygrad2.ops.fused import attention_weights, split_heads

Task = Callable[[np.random.Generator, int], tuple[Any, Any]]
V, T, C = 16, 14, 32
BACK = 3  # the first task: the token so many places back
PLACES = 2, 5  # the second: the tokens of two places at once
FIRST, AGAIN = 10, 5  # the third: so many tokens, and then so many of them again
ABOVE, BESIDE = (2, 1), (1, 2)  # layers, and heads of each: two heads, one above the other or side by side


class AttentionOnly(nn.Module):
    """A block without a feed-forward network: attention alone has to do it."""

    def __init__(self, block: Any) -> None:
        self.ln_1, self.attn = block.ln_1, block.attn

    def forward(self, x: Tensor, cache: None = None) -> Tensor:
        self.qkv = self.attn.c_attn(self.ln_1(x))  # (B, T, 3C)
        return x + self.attn.c_proj(ops.causal_attention(self.qkv, self.attn.num_heads))

    def weights(self) -> Any:
        """Of the last forward, (B, H, T, T): row t says where position t looked."""
        q, k, _ = split_heads(self.qkv.data, 3, self.attn.num_heads)
        return attention_weights(q, k)


def back(*places: int) -> Task:
    """Random tokens; to be named at each position, as soon as all are there: the tokens of these places."""

    def draw(rng: np.random.Generator, B: int) -> tuple[Any, Any]:
        ids = rng.integers(0, V, (B, T))
        return ids, np.stack([np.roll(ids, place, axis=1) for place in places], axis=-1)[:, max(places) :]

    return draw


def repetition(rng: np.random.Generator, B: int) -> tuple[Any, Any]:
    """FIRST different tokens, and AGAIN of them in a row once more, from a random place on; to be named there: the next token.

    How far back it stands differs from sequence to sequence, so a position does not tell where to look.
    """
    order = rng.permuted(np.tile(np.arange(V), (B, 1)), axis=1)[:, :FIRST]
    again = rng.integers(0, FIRST - AGAIN + 1, (B, 1)) + np.arange(AGAIN)
    rows = np.concatenate([order, np.take_along_axis(order, again, axis=1)], axis=1)  # (B, T + 1)
    return rows[:, :-1], rows[:, FIRST + 1 :, None]


def learn(task: Task, seed: int, steps: int, layers: int, heads: int, answers: int = 1) -> tuple[GPT2, list[float], float, Any]:
    """A GPT-2 without feed-forward networks, trained; its losses, how often all answers are right, and the ids of that test."""
    config = GPT2Config(vocab_size=V * answers, max_seq_len=T, d_model=C, num_layers=layers, num_heads=heads)
    model: Any = GPT2(config, seed)
    model.h = [AttentionOnly(block) for block in model.h]
    optimizer, rng = optim.AdamW(model.parameters(), 5e-3), np.random.default_rng(seed)

    def answer(ids: Any, targets: Any) -> Any:  # the last positions are asked: (B, positions, answers, V)
        return model(ids)[:, -targets.shape[1] :].reshape(*targets.shape, V)

    losses = []
    for _ in range(steps):
        ids, targets = task(rng, 32)
        model.zero_grad()
        loss = ops.cross_entropy(answer(ids, targets), targets)
        loss.backward()
        losses.append(loss.item())
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    ids, targets = task(rng, 256)
    with no_grad():
        right = (answer(ids, targets).data.argmax(-1) == targets).all(-1)
    return model, losses, float(right.mean()), ids


def weight_back(weights: Any, place: int, start: int, stop: int = T) -> float:
    """What the best head gives to the token so many places back, on average over these positions."""
    t = np.arange(start, stop)
    return float(weights[:, :, t, t - place].mean((0, 2)).max())


def weight_after(weights: Any, ids: Any) -> float:
    """What the best head gives to the token after the earlier occurrence of the current one, where there is one."""
    follows = np.zeros((len(ids), 1, T, T))
    follows[:, 0, :, 1:] = np.tril(ids[:, :, None] == ids[:, None, :], -1)[:, :, :-1]
    return float((weights * follows)[:, :, FIRST:].sum(-1).mean((0, 2)).max())


def one_place(seed: int, steps: int) -> Result:
    """One head that learned the token BACK places back: where it looks, by what, and what it brings."""
    model, _, _, ids = learn(back(BACK), seed, steps, layers=1, heads=1)
    block: Any = model.h[0]
    looks, found = block.weights().mean((0, 1)), {"weight": weight_back(block.weights(), BACK, BACK)}
    with no_grad():
        values = block.attn.c_attn(block.ln_1(model.wte.weight)).data[:, 2 * C :]  # (V, C): of each token, without a position
        head = model.lm_head.weight.data * model.ln_f.weight.data  # (V, C)
        brought = values @ block.attn.c_proj.weight.data @ head.T  # (V, V): of each token, what it adds to the logit of each
        brought -= brought.mean(0)  # what each adds whatever the token
        found["itself"] = int(sum(brought.argmax(1) == np.arange(V)))
        for name, table in (("no_tokens", model.wte.weight), ("no_positions", model.wpe.weight)):
            learned, table.data = table.data, np.broadcast_to(table.data.mean(0), table.shape).copy()  # all rows alike
            model(ids)
            found[name] = weight_back(block.weights(), BACK, BACK)
            table.data = learned
    return found | ({"map": looks.round(3).tolist(), "brought": brought.round(1).tolist()} if seed == 0 else {})


def two_places(seed: int, steps: int, heads: int) -> Result:
    """Asked for the tokens of both PLACES: how often both are right, and the largest weight that a head gives to each place."""
    model, _, right, _ = learn(back(*PLACES), seed, steps, layers=1, heads=heads, answers=2)
    block: Any = model.h[0]
    return {"right": right, "weights": [weight_back(block.weights(), place, max(PLACES)) for place in PLACES]}


def find_repetition(seed: int, steps: int, layers: int, heads: int) -> Result:
    """How it learns, and what the best heads of its first and last layer look at."""
    model, losses, right, ids = learn(repetition, seed, steps, layers, heads)
    lower, upper = (block.weights() for block in (model.h[0], model.h[-1]))  # type: ignore[attr-defined]
    example = {"ids": ids[0].tolist(), "maps": [weights[0, 0].round(3).tolist() for weights in (lower, upper)]}
    return {
        "curve": np.reshape(losses, (-1, 10)).mean(1).round(3).tolist(),
        "right": right,
        "before": weight_back(lower, 1, 1, FIRST),
        "after": weight_after(upper, ids),
        **({"example": example} if seed == 0 else {}),
    }


def on_text(seed: int, steps: int, heads: int) -> Result:
    """The validation loss of a whole GPT-2, in nats per character."""
    training, validation, letters = text()
    model = GPT2(GPT2Config(vocab_size=letters, max_seq_len=32, d_model=C, num_layers=2, num_heads=heads), seed)
    train(model, model.loss, training, steps, seed=seed, learning_rate=5e-3)
    return {"heads": heads, "parameters": model.num_parameters(), "loss": evaluate(model.loss, validation, windows=256)}


def measure(track: Track, quick: bool, control: bool) -> Result:
    seeds, heads = range(2 if quick else 6), [1, 8] if quick else [1, 2, 4, 8]
    steps, longer, few = (80, 300, seeds[:1]) if quick else (200, 500, seeds)
    second, above = (1, BESIDE) if control else (2, ABOVE)  # the control has one head twice, and no second layer
    return {
        "one_place": [one_place(seed, steps) for seed in track(seeds)],
        "one_head": [two_places(seed, steps, 1) for seed in track(seeds)],
        "two_heads": [two_places(seed, steps, second) for seed in track(seeds)],
        "above": [find_repetition(seed, longer, *above) for seed in track(few)],
        "beside": [find_repetition(seed, longer, *BESIDE) for seed in track(few)],
        "text": [[on_text(seed, 10 if quick else 150, h) for seed in seeds] for h in track(heads)],
    }


def each(runs: list[Result], name: str) -> Any:
    return np.array([run[name] for run in runs])


def claims(result: Result) -> list[Claim]:
    copying, one, two, above, beside = (result[name] for name in ("one_place", "one_head", "two_heads", "above", "beside"))
    weight, no_tokens, no_positions = (each(copying, name) for name in ("weight", "no_tokens", "no_positions"))
    itself, better, finds = each(copying, "itself"), each(two, "right") - each(one, "right"), each(above, "right")
    finds_more, before, after = finds - each(beside, "right"), each(above, "before"), each(above, "after")
    aside = each(beside, "after")
    shared, divided = each(two, "weights"), each(one, "weights")  # (seeds, places)
    losses = {runs[0]["heads"]: each(runs, "loss") for runs in result["text"]}
    added = ", ".join(f"{heads} heads {cost(loss - losses[1])}" for heads, loss in losses.items() if heads > 1)
    sizes = sorted({run["parameters"] for runs in result["text"] for run in runs})
    return [
        Claim(
            f"Q and K: asked for the token {BACK} places back, one head gives it {with_interval(weight)} of its weight. It "
            f"still does if all token embeddings are made alike, {with_interval(no_tokens)}, but not if all positions are, "
            f"{with_interval(no_positions)}: it has learned to look by position.",
            min(interval(weight)[0], interval(no_tokens)[0]) > 0.5 > interval(no_positions)[1],
        ),
        Claim(
            f"V: sent through W_v, W_o and the head of the model, {min(itself)} of {V} tokens have themselves as the largest "
            f"logit (the fewest of {len(itself)} seeds): it has learned to bring the token.",
            min(itself) > 0.9 * V,
        ),
        Claim(
            f"Asked for the tokens {PLACES[0]} and {PLACES[1]} places back at once, one head has both right in "
            f"{with_interval(each(one, 'right'))} of the cases, two heads in {with_interval(each(two, 'right'))}: a difference "
            f"of {with_interval(better)}.",
            interval(better)[0] > 0,
        ),
        Claim(
            f"Two share the work: one gives {with_interval(shared[:, 0])} of its weight to the one place, the other "
            f"{with_interval(shared[:, 1])} to the other. One divides itself: {with_interval(divided[:, 0])} and "
            f"{with_interval(divided[:, 1])}.",
            interval(shared.min(1))[0] > 0.5 > interval(divided.min(1))[1],
        ),
        Claim(
            f"Where a sequence repeats itself, two heads above each other have the next token right in {with_interval(finds)} "
            f"of the cases, two side by side in {with_interval(each(beside, 'right'))}: a difference of "
            f"{with_interval(finds_more)}.",
            interval(finds_more)[0] > 0,
        ),
        Claim(
            f"Before the repetition the lower of the two gives {with_interval(before)} of its weight to the token before. In "
            f"it, with {sum(after > 0.5)} of {len(after)} seeds the upper one gives more than half to the token after the "
            f"earlier occurrence of the current one: it is an induction head. Over all seeds it gives {with_interval(after)} "
            f"to that, {with_interval(after - aside)} more than the better of two side by side.",
            interval(before)[0] > 0.5 and sum(after > 0.5) > len(after) / 2 and interval(after - aside)[0] > 0,
        ),
        Claim(
            f"On text, a GPT-2 has {' or '.join(map(str, sizes))} parameters with any number of heads. What more than one add "
            f"to its validation loss: {added} (nats per character, paired over {len(losses[1])} seeds).",
            len(sizes) == 1,
        ),
    ]


def cost(differences: Any) -> str:
    low, high = interval(differences)
    return with_interval(differences) + (", which shows no difference" if low <= 0 <= high else "")


def draw(result: Result, figure: Any) -> None:
    figure.set_size_inches(12, 7.5)
    figure.suptitle(
        "Q and K choose where to look, V what to bring. Two looks need two heads; a look at a look needs two layers"
    )
    (looks, brings, shares), (finds, *maps) = figure.subplots(2, 3)
    one = result["one_place"][0]
    looks.imshow(one["map"], cmap="Blues", vmin=0, vmax=1)
    looks.set(
        xlabel="position looked at",
        ylabel="position",
        xticks=range(0, T, 2),
        title=f"Q and K: one head looks {BACK} places back",
    )
    limit = np.abs(one["brought"]).max()
    brings.imshow(one["brought"], cmap="RdBu", vmin=-limit, vmax=limit)
    brings.set(
        xlabel="token (blue: more likely to be named)", ylabel="token there", title="V: it brings the token that is there"
    )

    names = {"one_head": "one head", "two_heads": "two heads"}
    for i, place in enumerate(PLACES):
        means = [each(result[name], "weights")[:, i].mean() for name in names]
        x, color = np.arange(2) + 0.4 * i - 0.2, ("tab:blue", "tab:cyan")[i]
        shares.bar_label(shares.bar(x, means, 0.36, color=color, label=f"to the token {place} back"), fmt="%.2f")
    ticks = [f"{label}:\nboth right in {each(result[name], 'right').mean():.0%}" for name, label in names.items()]
    shares.set_xticks([0, 1], ticks)
    shares.set(ylim=(0, 1.4), ylabel="largest weight of a head", title="Two places at once: a head for each")
    shares.legend(frameon=False, loc="upper left")

    for name, color, label in (("above", "tab:blue", "above each other"), ("beside", "tab:red", "side by side")):
        curves = each(result[name], "curve")
        steps = 10 * np.arange(curves.shape[1]) + 5
        finds.plot(steps, curves.T, color=color, alpha=0.6, linewidth=1, label=[f"two heads {label}", *"_" * (len(curves) - 1)])
    finds.set(xlabel="step", ylabel="loss (nats per token)", ylim=(0, 3.3), title="A repetition: two layers find it")
    finds.legend(frameon=False, loc="upper right")
    ids, weights = result["above"][0]["example"].values()
    letters = [chr(ord("A") + i) for i in ids]
    for axes, of_layer, title in zip(
        maps, weights, ("Lower: the token before", "Upper: what came next last time"), strict=True
    ):
        axes.imshow(of_layer, cmap="Blues", vmin=0, vmax=1)
        axes.axhline(FIRST - 0.5, color="tab:red", linewidth=1, linestyle=":")  # where the repetition starts
        axes.set_xticks(range(T), letters)
        axes.set_yticks(range(T), letters)
        axes.set(xlabel="token looked at", ylabel="token (below the red line: repeated)", title=title)
    for axes in (shares, finds):
        axes.grid(alpha=0.25, axis="y")
