"""A model looked at: what it predicts, attends to and is made of, how fast it is, and whether its gradients are right."""
