"""One level: its sums and its problem, the optimizer, the jitted steps."""
