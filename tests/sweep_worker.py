"""Runs in a process of its own with eight virtual devices: sweeps against single runs.

Prints a JSON text of findings, which test_rounds.py judges.
"""

import itertools
import json

import jax
import numpy as np
from conftest import EXAMPLES, slim_params

import jaxstyle
from jaxstyle import images, spread


def settings_of(count: int) -> list[dict]:
    """Returns different numbers, steps, seeds and styles, all of one program."""
    weights, rates = (1e3, 1e4, 1e5), (0.3, 0.1)
    grid = itertools.islice(itertools.cycle(itertools.product(rates, weights)), count)
    return [
        {"style_weight": w, "learning_rate": r, "steps": 6 + i % 3, "tv_weight": float(i)}
        for i, (r, w) in enumerate(grid)
    ]


def compare(params, content, styles, count: int) -> bool:
    """Whether a sweep gives, bit for bit, what single runs give: pictures, losses, histories."""
    pairs = [jaxstyle.preset(size=48, **each) for each in settings_of(count)]
    recipes, hypers = zip(*pairs, strict=True)
    chosen = [styles[i % len(styles)] for i in range(count)]
    seeds = list(range(count))
    found = {}
    for result in jaxstyle.sweep(
        params, content, chosen, recipe=recipes, hypers=hypers, init="noise", seeds=seeds
    ):
        found[result.number] = result
    equal = sorted(found) == list(range(count))
    for i in range(count):
        rows, closing = [], None

        def see(chunk, rows=rows):
            rows += list(np.stack(chunk.losses, axis=1))
            see.closing = chunk.closing

        picture = jaxstyle.stylize(
            params,
            content,
            chosen[i],
            recipe=recipes[i],
            hyper=hypers[i],
            init="noise",
            seed=i,
            report=see,
        )
        closing = see.closing
        equal &= np.array_equal(found[i].picture, picture)
        equal &= np.array_equal(np.stack(found[i].history, axis=1), np.array(rows))
        equal &= np.array_equal(found[i].losses, closing)
        equal &= found[i].steps_done == recipes[i].steps and found[i].failure is None
    return bool(equal)


def main() -> None:
    params = slim_params("vgg19")
    content = images.load_picture(EXAMPLES / "coffee.png")[100:167, 250:343]
    painting_ = images.load_picture(EXAMPLES / "strokes.png")
    styles = [painting_[40:109, 500:571], painting_[:60, :50]]
    found = {"devices": len(jax.devices())}
    for count in (1, 3, 8, 11):
        spread.program.cache_clear()
        found[f"equal {count}"] = compare(params, content, styles, count)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
