"""What other programs call it: the words of nanoGPT, Hugging Face and llama.cpp, and what they are here.

A flag that means the same as one of ours, with the same values, is taken for it, which is noted; of any other it is said what
there is instead. Words are written with hyphens and without the first ones.
"""

from __future__ import annotations

from gpt2.weights import hugging_face

FLAGS = {
    "--data": "dataset dataset-name train-file train-data corpus input input-file text text-file file",
    "--tokenizer": "tokenizer-name tokenize:run tokenize:m tokenize:model",
    "--init-from": "model-name-or-path pretrained-model-name-or-path model pretrained",
    "--seed": "s random-seed manual-seed",
    "--steps": "max-iters max-steps num-steps train-steps iters iterations",
    "--batch-size": "per-device-train-batch-size train-batch-size",
    "--threads": "t num-threads n-threads",
    "--learning-rate": "lr",
    "--min-learning-rate": "min-lr",
    "--warmup-steps": "warmup-iters num-warmup-steps",
    "--schedule": "lr-scheduler-type lr-scheduler scheduler",
    "--beta1": "adam-beta1",
    "--beta2": "adam-beta2",
    "--grad-clip": "max-grad-norm",
    "--label-smoothing": "label-smoothing-factor",
    "--eval-every": "eval-interval eval-steps",
    "--patience": "early-stopping-patience",
    "--save-every": "save-interval save-steps",
    "--max-seq-len": "block-size n-ctx ctx-size c context-length seq-len seq-length max-seq-length max-position-embeddings",
    "--d-model": "hidden-size",
    "--num-layers": "num-hidden-layers n-layers layers",
    "--num-heads": "num-attention-heads n-heads heads",
    "--d-ff": "n-inner intermediate-size",
    "--tie-embeddings": "tie-word-embeddings tie-weights",
    "--out": "o out-dir output-dir output save-dir",
    "--config": "config-file",
    "--run": "m model model-name-or-path model-path checkpoint ckpt out-dir",
    "--prompt": "p start text input",
    "--prompt-file": "f file",
    "--tokens": "n n-predict predict max-new-tokens num-tokens",
    "--temperature": "temp",
    "--repetition-penalty": "repeat-penalty",
    "--stop": "reverse-prompt stop-sequence",
    "--samples": "num-samples num-return-sequences",
}
"""A flag of ours, and what it is called elsewhere. A word may be that of several flags: a command has one of them.
Behind a command and a colon it is that of this command."""

SENTENCES = {
    "epochs num-epochs num-train-epochs": "training is counted in updates, not in epochs: gpt2 train --steps",
    "device device-map gpu cuda use-cuda no-cuda ngl n-gpu-layers": "everything runs on the CPU: leave it out",
    "compile torch-compile": "there is nothing to compile: leave it out",
    "gradient-accumulation-steps": "gpt2 train --batch-size counts all sequences of an update, and --shards divides them",
    "gradient-checkpointing": "gpt2 train --shards saves memory",
    "fp16 bf16 amp mixed-precision": "gpt2 train --dtype is float32 or bfloat16",
    "optim": "gpt2 train --optimizer is adamw, muon, adam or sgd",
    "lr-decay-iters": "the learning rate falls until the last step, as gpt2 train --schedule says: leave it out",
    "decay-lr": "gpt2 train --schedule constant keeps the learning rate as it is",
    "warmup-ratio": "gpt2 train --warmup-steps counts steps",
    "eval-iters max-eval-samples": "gpt2 train --eval-windows counts windows of the context, not batches or samples",
    "eval-only": "gpt2 eval evaluates a run",
    "do-train do-eval": "gpt2 train trains, and gpt2 eval evaluates: leave it out",
    "eval-strategy evaluation-strategy": "gpt2 train --eval-every counts steps",
    "save-strategy save-total-limit always-save-checkpoint": "gpt2 train --save-every and --keep-every say which are kept",
    "load-best-model-at-end": "gpt2 sample --best takes the best checkpoint, as gpt2 eval --best does",
    "per-device-eval-batch-size eval-batch-size": "an evaluation chooses its own batch size: leave it out",
    "validation-file val-file val-data eval-data": "gpt2 train --val-fraction and --split choose the validation text",
    "num-workers dataloader-num-workers": "no other process reads the text: leave it out",
    "log-interval logging-steps log-every": "every step is logged: leave it out",
    "wandb-log wandb-project wandb-run-name report-to": "gpt2 plot --tensorboard writes files for TensorBoard: leave it out",
    "init-from=resume resume-from-checkpoint": "gpt2 train --resume --out RUN continues a run",
    "init-from=scratch": "a model is new unless --init-from names one: leave it out",
    "overwrite-output-dir overwrite force": "a run is never overwritten: give a new --out",
    "backend local-rank nproc-per-node num-processes": "mpiexec -n 4 gpt2 train starts four processes",
    "push-to-hub hub-model-id": "gpt2 export writes a folder that can be uploaded",
    "max-length": "gpt2 sample --tokens counts new tokens, without those of the prompt",
    "do-sample greedy": "gpt2 sample --temperature 0 takes the likeliest token, any other draws one",
    "num-beams": "there is no beam search; gpt2 sample --temperature 0 takes the likeliest token",
    "stream": "gpt2 sample writes each token as it comes: leave it out",
    "interactive i cnv conversation": "gpt2 sample continues one --prompt, and ends",
    "train:run": "gpt2 train writes a run into --out, and continues it with --resume",
}
"""What is said of a word where the command has no flag for it."""

COMMANDS = {
    "train": "fit finetune fine-tune pretrain resume",
    "sample": "generate complete write chat predict infer",
    "eval": "evaluate test validate perplexity",
    "runs": "list ls compare",
    "plot": "draw tensorboard",
    "export": "convert save",
    "tokenize": "tokenise encode",
    "info": "show summary describe",
    "gradcheck": "check",
    "bench": "benchmark profile",
}

FLAGS_OF = {theirs.replace("_", "-"): ["--" + ours.replace("_", "-")] for theirs, ours in hugging_face.SAME.items()}
for _ours, _words in FLAGS.items():
    for _word in _words.split():
        FLAGS_OF.setdefault(_word, []).append(_ours)
SENTENCE_OF = {word: sentence for words, sentence in SENTENCES.items() for word in words.split()}
COMMAND_OF = {word: ours for ours, words in COMMANDS.items() for word in words.split()}
