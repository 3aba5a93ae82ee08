"""GPT-2 in PyTorch's own functions, from the weights of ours: the oracle of the tests, and a training to compare with.

    python tests/gpt2/torch_gpt2.py --preset nanogpt-cpu --data tinyshakespeare.txt --seed 0

trains it with the same initial weights, batches and schedule as `gpt2 train`, and prints the validation loss.
"""

import argparse

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.text import batches
from gpt2.text.corpora import load_corpus
from gpt2.tokenizers import CharTokenizer
from gpt2.training.optimizer import learning_rate


def torch_loss(torch, config, state, ids, targets):
    """GPT-2 from a state dict of torch tensors, with torch's own functions."""
    F = torch.nn.functional

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state.get(f"{name}.bias"))

    def linear(x, name):
        return F.linear(x, state[f"{name}.weight"].T, state.get(f"{name}.bias"))

    ids, targets = torch.tensor(ids), torch.tensor(targets)
    B, T = ids.shape
    x = F.embedding(ids, state["wte.weight"]) + state["wpe.weight"][:T]
    for i in range(config.num_layers):
        q, k, v = linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").split(config.d_model, -1)
        q, k, v = (t.reshape(B, T, config.num_heads, -1).transpose(1, 2) for t in (q, k, v))
        merged = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, -1)
        x = x + linear(merged, f"h.{i}.attn.c_proj")
        hidden = F.gelu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate="tanh")
        x = x + linear(hidden, f"h.{i}.mlp.c_proj")
    head = state.get("lm_head.weight", state["wte.weight"])
    logits = F.linear(norm(x, "ln_f"), head, state.get("lm_head.bias"))
    return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny-adamw")
    parser.add_argument("--data", default="pydocs")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    corpus = load_corpus(args.data)
    tokenizer = CharTokenizer.train(corpus.text)
    config = GPT2Config.preset(args.preset, vocab_size=tokenizer.vocab_size)
    training = TrainConfig.preset(args.preset, seed=args.seed)
    T = config.max_seq_len
    train, val = batches.split(tokenizer.encode(corpus.text), training.val_fraction, T)
    state = {n: torch.tensor(a, requires_grad=True) for n, a in GPT2(config, args.seed).state_dict().items()}
    groups = [
        {"params": [t for t in state.values() if t.dim() > 1], "weight_decay": training.weight_decay},
        {"params": [t for t in state.values() if t.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(training.beta1, training.beta2), fused=True)
    for step in range(training.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(training, step)
        ids, targets = batches.batch(train, training.batch_size, T, args.seed, step)
        _, loss = torch_loss(torch, config, state, ids, targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(state.values()), training.grad_clip)
        optimizer.step()
    with torch.no_grad():
        losses = [
            (torch_loss(torch, config, state, x, y)[1].item() * y.size, y.size) for x, y in batches.consecutive(val, T, 64)
        ]
    print(f"{args.preset}, seed {args.seed}: validation loss {sum(a for a, _ in losses) / sum(n for _, n in losses):.4f}")


if __name__ == "__main__":
    main()
