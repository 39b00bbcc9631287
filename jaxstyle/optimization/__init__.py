"""One size: its sums and its problem, the optimizer, the jitted steps."""
