"""Three hundred steps beside those of `gpt2 train`, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpt2.config import GPT2Config, TrainConfig
from gpt2.course.checks.e22_gpt2 import EXERCISE as E22
from gpt2.course.checks.e22_gpt2 import model_of
from gpt2.model import GPT2
from gpt2.text.batches import Batch, batch
from gpt2.training.shards import Shards
from gpt2.training.step import Trainer
from tinygrad2.study.course.exercise import Exercise, Inputs, Mistake, Probe, Step, Text
from tinygrad2.types import Array

TEXT = (
    "a walk goes back from the loss. each node waits for all of its uses, and then it hands on what it got. "
    "the gradients of all uses add up. what was copied is summed, what was summed is copied. "
)
LETTERS = sorted(set(TEXT))
HEADS, CONTEXT, ROWS, STEPS = 2, 12, 6, 300
SETTINGS = {
    "learning_rate": 1e-2,
    "warmup": 20,
    "final": 1e-3,
    "beta1": 0.9,
    "beta2": 0.99,
    "decay": 0.1,
    "grad_clip": 1.0,
}


@cache
def beginning(seed: int) -> tuple[dict[str, Array], list[Batch]]:
    """Weights, and batches of the text."""
    config = GPT2Config(vocab_size=len(LETTERS), max_seq_len=CONTEXT, num_layers=2, num_heads=HEADS, d_model=16, dropout=0.0)
    weights = {name: p.data for name, p in GPT2(config, seed, np.float64).named_parameters()}
    for x in weights.values():
        x.setflags(write=False)
    ids = np.array([LETTERS.index(letter) for letter in 4 * TEXT])
    return weights, [batch(ids, ROWS, CONTEXT, seed, t) for t in range(STEPS)]


def show(theirs: Any, draw: Inputs) -> Iterator[Probe]:
    weights, drawn = beginning(draw.seed)

    def one_step(code: Any) -> tuple[Any, dict[str, Any]]:
        p = {name: code.Tensor(x) for name, x in weights.items()}
        return code.loss(*drawn[0], p, HEADS), p

    yield Step(theirs, one_step)
    harder = {**SETTINGS, "grad_clip": 0.05, "warmup": 2, "decay": 0.5}
    for what, batches, settings in (("4 steps", drawn[:4], harder), (f"{STEPS} steps", drawn, SETTINGS)):
        given = dict(weights)
        losses, trained = theirs.train(given, list(batches), HEADS, dict(settings))
        yield f"the losses of {what}", np.array(losses)
        yield f"a weight that was given, after {what}", np.array(given["wpe.weight"])
        p = {name: theirs.Tensor(x) for name, x in trained.items()}
        yield f"the next loss after {what}", theirs.loss(*drawn[1], p, HEADS).data
    prompt = [LETTERS.index(letter) for letter in "the gr"]
    yield "what it writes", "".join(LETTERS[i] for i in theirs.write(trained, prompt, 40, HEADS))
    yield "the list that was given to write, afterwards", prompt


def train(
    weights: dict[str, Array], batches: list[Batch], heads: int, settings: dict[str, float]
) -> tuple[list[float], dict[str, Array]]:
    """By the trainer of `gpt2 train`."""
    B, T = batches[0][0].shape
    model = _model(weights, heads)
    config = TrainConfig(
        batch_size=B,
        steps=len(batches),
        learning_rate=settings["learning_rate"],
        warmup_steps=int(settings["warmup"]),
        min_learning_rate=settings["final"],
        beta1=settings["beta1"],
        beta2=settings["beta2"],
        weight_decay=settings["decay"],
        grad_clip=settings["grad_clip"],
    )
    given = iter(batches)
    with Shards(1, 1, B) as shards:
        trainer = Trainer(model, config, np.zeros(T + 1, int), shards)
        trainer.batch = lambda: next(given)  # type: ignore[method-assign]
        losses = [trainer.step()["train_loss"] for _ in batches]
    return losses, {name: p.data for name, p in model.named_parameters()}


def write(weights: dict[str, Array], ids: list[int], count: int, heads: int) -> list[int]:
    """By `gpt2 sample`."""
    found: list[int] = _model(weights, heads).generate(np.array(ids), count).tolist()
    return found


def _model(weights: dict[str, Array], heads: int) -> GPT2:
    return model_of({name: E22.ours.Tensor(x) for name, x in weights.items()}, heads)


EXERCISE = Exercise(
    week=6,
    minutes=60,
    show=show,
    ours=SimpleNamespace(Tensor=E22.ours.Tensor, loss=E22.ours.loss, train=train, write=write),
    tolerance=1e-12,
    seconds=120,
    idea=Text(
        "New Tensors in every step, made of the arrays: then no gradient of the step before is left. t counts from 0 for the "
        "learning rate, and from 1 for adamw.",
        "每一步用数组新建 Tensor，这样不会残留上一步的梯度。学习率的 t 从 0 开始，adamw 的 t 从 1 开始。",
    ),
    mistakes=[
        Mistake(
            'new = adamw(x, g, m[name], v[name], t + 1, lr, settings["beta1"], settings["beta2"], decay)',
            'new = adamw(x, g, m[name], v[name], t + 2, lr, settings["beta1"], settings["beta2"], decay)',
            Text("adamw is told a step too late: its t is 1 in the first step.", "adamw 的步数晚了一步：第一步 t 为 1。"),
        ),
        Mistake(
            'lr = learning_rate(t, settings["learning_rate"], settings["warmup"], len(batches), settings["final"])',
            'lr = learning_rate(t + 1, settings["learning_rate"], settings["warmup"], len(batches), settings["final"])',
            Text("The learning rate is that of the next step: its t counts from 0.", "学习率用了下一步的：它的 t 从 0 开始。"),
        ),
        Mistake(
            'decay = settings["decay"] if x.ndim > 1 else 0.0',
            'decay = settings["decay"]',
            Text(
                "Gains and biases decay too; only parameters with two axes do.",
                "增益和偏置也衰减了；只有具有两个轴的参数才衰减。",
            ),
        ),
        Mistake(
            'decay = settings["decay"] if x.ndim > 1 else 0.0',
            "decay = 0.0",
            Text("Nothing decays.", "没有任何参数衰减。"),
        ),
        Mistake(
            'gradients, _ = clip([x.grad for x in p.values()], settings["grad_clip"])',
            "gradients = [x.grad for x in p.values()]",
            Text("The gradients are not clipped.", "没有裁剪梯度。"),
        ),
        Mistake(
            'clip([x.grad for x in p.values()], settings["grad_clip"])',
            '[clip([x.grad], settings["grad_clip"])[0][0] for x in p.values()], 0',
            Text(
                "Each gradient is clipped by itself; they are clipped all together, by one factor.",
                "每个梯度各自裁剪了；应合在一起，用同一个因子裁剪。",
            ),
        ),
        Mistake(
            "            weights[name], m[name], v[name] = new\n",
            "            weights[name], m[name], _ = new\n",
            Text("v is forgotten from step to step.", "每一步之间丢失了 v。"),
        ),
        Mistake(
            "            weights[name], m[name], v[name] = new\n",
            "            weights[name], _, v[name] = new\n",
            Text("m is forgotten from step to step.", "每一步之间丢失了 m。"),
        ),
        Mistake(
            "        losses.append(float(its_loss.data))\n",
            "        losses.insert(0, float(its_loss.data))\n",
            Text("The losses are in the wrong order: the last one comes first.", "损失的顺序反了：最后的排在了最前。"),
        ),
        Mistake(
            'lr = learning_rate(t, settings["learning_rate"], settings["warmup"], len(batches), settings["final"])',
            'lr = learning_rate(t, settings["learning_rate"], settings["warmup"], len(batches) + '
            'settings["warmup"], settings["final"])',
            Text(
                "The cosine is too long: it ends after as many steps as there are batches, warm-up included.",
                "余弦太长：它应在与批次数相同的步数（含预热）处结束。",
            ),
        ),
        Mistake(
            'lr = learning_rate(t, settings["learning_rate"], settings["warmup"], len(batches), settings["final"])',
            'lr = learning_rate(t, settings["learning_rate"], settings["warmup"], len(batches), 0.0)',
            Text("The learning rate falls to 0, and not to settings['final'].", "学习率降到了 0 而不是 settings['final']。"),
        ),
        Mistake(
            'new = adamw(x, g, m[name], v[name], t + 1, lr, settings["beta1"], settings["beta2"], decay)',
            'new = adamw(x, g, m[name], v[name], t + 1, lr, settings["beta2"], settings["beta1"], decay)',
            Text("beta1 and beta2 are swapped.", "beta1 和 beta2 弄反了。"),
        ),
        Mistake(
            "ids.append(int(np.argmax(gpt2(seen, p, heads).data[0, -1])))",
            "ids.append(int(np.argmax(gpt2(seen, p, heads).data[0, 0])))",
            Text(
                "The next token is read from the logits of the first position; the last one predicts it.",
                "下一个 token 取自第一个位置的 logits；应取最后一个位置。",
            ),
        ),
        Mistake(
            'seen = np.array([ids[-len(weights["wpe.weight"]) :]])',
            'seen = np.array([ids[: len(weights["wpe.weight"])]])',
            Text("The model sees the first tokens, and not the last.", "模型看到的是最前面的 token 而不是最后的。"),
        ),
    ],
)
