"""From pictures to a painted one: the levels of a run, and sweeps on many devices."""
