"""The machine: memory, this process, devices, and what is placed on them."""
