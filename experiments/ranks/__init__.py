"""What a step costs on several ranks: measured on one machine, and planned past it."""
