"""A run: what was asked for, what it reads, keeps, shows and writes."""
