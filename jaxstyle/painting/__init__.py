"""From pictures to a painted one: the sizes of a run, and sweeps on many devices."""
