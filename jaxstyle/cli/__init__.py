"""The command line: flags, what is printed, exit codes. No other wing imports it."""
