"""`Hyperparams`, the settings whose values are data: changing one compiles nothing."""

from dataclasses import dataclass, field

from jaxstyle.settings.fields import about


@dataclass(frozen=True, kw_only=True)
class Hyperparams:
    """The hyperparameters, a pytree: they are data, so changing one compiles nothing.

    The loss is content_weight * content + style_weight * style + tv_weight * total variation.
    """

    content_weight: float = field(
        default=1.0, metadata=about("weight of the content loss", metavar="X")
    )
    style_weight: float = field(
        default=1e4, metadata=about("weight of the style loss", metavar="X")
    )
    style_weights: tuple[float, ...] = field(
        default=(),
        metadata=about(
            "how much each of several style pictures counts, such as 2,1,1: parts of their sum;"
            " of a folder, all of its pictures together",
            metavar="X,X[,X...]|equal",
            later=True,
        ),
    )
    tv_weight: float = field(
        default=10.0,
        metadata=about("weight of the total variation: more is smoother", metavar="X"),
    )
    learning_rate: float = field(
        default=0.3,
        metadata=about(
            "Adam's step at the start, in normalised colour (1 is 0.22 to 0.23 of the range"
            " black to white); of lbfgs a factor of its step",
            metavar="X",
        ),
    )
    decay_every: int = field(
        default=50,
        metadata=about(
            "steps between two drops of the learning rate, counted over the whole run; giving it"
            " chooses --schedule step",
            metavar="N",
        ),
    )
    decay_rate: float = field(
        default=0.8,
        metadata=about(
            "factor of each drop, at most 1; giving it chooses --schedule step", metavar="X"
        ),
    )
    coarse_content: float = field(
        default=1.0,
        metadata=about(
            "factor of --content-weight at all of the --scales but the last; at the last, if it is"
            " below 1, its n-th root where there are n auto scales beyond three",
            metavar="X",
        ),
    )
    content_decay: float = field(
        default=1.0,
        metadata=about(
            "factor of --content-weight from one of the --scales to the next finer one, such as"
            " 0.5; --content-weight itself is that of the coarsest",
            metavar="X",
            later=True,
        ),
    )
    content_power: float = field(
        default=0.0,
        metadata=about(
            "in relative balance, how much a photo that is strong beside the painting weighs: a"
            " content layer's loss times the ratio of both pictures' energies there, at least 0.5,"
            " to this power; 0: not",
            metavar="X",
        ),
    )
    content_layer_weights: tuple[float, ...] = field(default=(1.0,), metadata={})
    style_layer_weights: tuple[float, ...] = field(default=(1.0,) * 5, metadata={})
