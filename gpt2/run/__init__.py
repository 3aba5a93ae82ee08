"""What is on the disk of one training: its folder, its log, its checkpoints and pictures, and the verdicts on them."""
