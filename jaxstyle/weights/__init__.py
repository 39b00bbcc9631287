"""The network's weights: files of several kinds, where they come from, what is wrong with them."""
