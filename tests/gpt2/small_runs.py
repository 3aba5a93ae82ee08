"""Trainings that take a second, for tests."""

from gpt2 import GPT2, GPT2Config, TrainConfig
from gpt2.run.folder import Run
from gpt2.run.metrics import read_metrics
from gpt2.text.corpora import Corpus
from gpt2.text.encoding import prepare, tokenizer_for
from gpt2.training.loop import train

MODEL = {"max_seq_len": 16, "d_model": 16, "num_layers": 2, "num_heads": 2}
SHORT = {"steps": 30, "eval_every": 10, "warmup_steps": 5, "learning_rate": 3e-3, "sample_tokens": 20, "eval_windows": 0}


def run_once(folder, text, model=(), resume=False, say=lambda _: None, began=None, draw=None, **training):
    """Train on a text into a folder: the run, the result, and the rows of its log."""
    config = TrainConfig(**{**SHORT, **training})
    corpus = Corpus.of_text("test", text)
    tokenizer = tokenizer_for(corpus, config)
    shape = GPT2Config(**{"vocab_size": tokenizer.vocab_size, **MODEL, **dict(model)})
    prepared = prepare(corpus, tokenizer, config, shape.max_seq_len)
    run = Run(folder) if resume else Run.create(folder)
    result = train(GPT2(shape, config.seed), config, prepared, run, say, resume, began, draw)
    return run, result, read_metrics(run.metrics)


def without_speed(rows):
    """What must be equal in two runs: all but how fast they were."""
    return [{key: value for key, value in row.items() if key != "tokens_per_s"} for row in rows]
