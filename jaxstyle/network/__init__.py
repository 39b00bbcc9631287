"""VGG: its tables, the convolutions, the features, the Flax module."""
