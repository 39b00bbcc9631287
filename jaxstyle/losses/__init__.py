"""The losses, as functions of sums over features; nothing here knows the network."""
