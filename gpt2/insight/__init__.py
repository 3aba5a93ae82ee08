"""A model looked at: how well it predicts, what it attends to, what it is made of, how fast it is, and whether its gradients are right."""
