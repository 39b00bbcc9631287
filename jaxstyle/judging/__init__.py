"""How near a result is to its painting and photo, as a network finds that no run optimizes."""
