"""One size: its sums and its problem, the optimiser, the jitted steps."""
