"""Is a training step of ours as fast as PyTorch's? See README.md."""
