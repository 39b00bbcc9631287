"""Record the canvases of torch.optim.LBFGS, for the tests to hold ours to.

Usage: `python scripts/make_lbfgs_references.py`. Needs PyTorch, numpy and Pillow. All is in double
precision; canvases are stored channel-last, (steps, H, W, 3).
"""

import json
from collections.abc import Callable
from pathlib import Path

import make_references as references
import numpy as np
import reference_program as reference
import torch
from reference_program import Array
from torch import Tensor

OUTPUT = references.PROJECT / "tests" / "references" / "lbfgs.npz"
SHAPE = (2, 3, 3)
QUADRATIC_STEPS, BOOK_STEPS = 12, 9
HISTORY, RATE = 3, 0.8
SIZE = (24, 32)


def canvases(loss: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> list[Tensor]:
    """Return the canvas after each step, with the settings of neural-style but for the rate."""
    canvas = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [canvas],
        lr=RATE,
        max_iter=1,
        history_size=HISTORY,
        tolerance_grad=-1,
        tolerance_change=-1,
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(canvas)
        value.backward()
        return value

    found = []
    for _ in range(steps):
        optimizer.step(closure)
        found.append(canvas.detach().clone())
    return found


def quadratic() -> dict[str, Array]:
    """Record 1/2 x A x - b x, A being of a given spectrum; its values are canvases (2, 3, 3)."""
    random = np.random.Generator(np.random.PCG64(5))
    count = int(np.prod(SHAPE))
    basis, _ = np.linalg.qr(random.standard_normal((count, count)))
    matrix = basis * np.geomspace(0.05, 20, count) @ basis.T
    vector, start = random.standard_normal(count), random.standard_normal(count)
    a, b = torch.from_numpy(matrix), torch.from_numpy(vector)
    found = canvases(lambda x: 0.5 * x @ a @ x - b @ x, torch.from_numpy(start), QUADRATIC_STEPS)
    paths = np.stack([each.numpy().reshape(SHAPE) for each in found])
    given = {"matrix": matrix, "vector": vector, "start": start.reshape(SHAPE)}
    return {f"quadratic/{name}": each for name, each in {**given, "canvases": paths}.items()}


def book(examples: Path) -> dict[str, Array]:
    """Record the book's loss on the slim VGG-19, from the content picture."""
    network, preset = references.SLIM_NETWORKS[0], references.BOOK
    pictures = references.read_pictures(
        examples, references.SLIM_CORNERS, SIZE, references.SLIM_SHRINK, references.SLIM_NOISE
    )
    content, style = (reference.normalize(pictures[k]).double() for k in ("content", "style"))
    weights = reference.draw_weights(network)
    modules = reference.build(network, weights, preset, torch.float64)
    program = reference.Program(modules, preset.taps(network), content, style)
    losses: list[float] = []

    def loss(canvas: Tensor) -> Tensor:
        value = program.losses(canvas)["total"]
        losses.append(value.item())
        return value

    found = canvases(loss, content, BOOK_STEPS)
    paths = np.stack([reference.channels_last(each) for each in found])
    given = {name: pictures[name] for name in ("content", "style")}
    return {
        f"book/{name}": each
        for name, each in {**given, "losses": np.array(losses), "canvases": paths}.items()
    }


def main() -> None:
    """Write the file."""
    torch.set_num_threads(1)
    meta = {
        "command": "python scripts/make_lbfgs_references.py",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "learning rate": RATE,
        "history": HISTORY,
    }
    arrays = {**quadratic(), **book(references.PROJECT / "examples")}
    np.savez_compressed(OUTPUT, meta=np.array(json.dumps(meta)), **arrays)


if __name__ == "__main__":
    main()
