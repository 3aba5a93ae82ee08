"""A model looked at: how well it predicts, what it attends to, what it is made of, whether its gradients are right."""
