"""Tuned PyTorch programs on a GPU (or, to try them, a CPU), for scripts/accelerator.py.

All have frozen weights, channels-last memory and cudnn.benchmark. f32 multiplies in float32, tf32
has TF32 allowed in convolutions and matrix products, bf16 convolves under autocast while Gram
matrices and losses are float32. "compiled" is torch.compile with CUDA graphs around the losses.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch_programs
from accelerator_parts import AT_ALL_PRECISIONS
from torch import Tensor

Row = dict[str, Any]


class OnDevice(torch_programs.Tuned):
    """The tuned program at a precision, compiled or not."""

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def __init__(self, precision: str, *given: Any, compiled: bool) -> None:
        """Takes the precision, and what `torch_programs.Listing` takes."""
        self._half = precision == "bf16"
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = precision != "f32"
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        super().__init__(*given)
        if compiled:
            self.terms = torch.compile(self.terms, mode="reduce-overhead")  # type: ignore[method-assign]

    def _features(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        half = (
            torch.autocast(self.device, torch.bfloat16) if self._half else contextlib.nullcontext()
        )
        with half:
            content, styles = super()._features(image)
        return content.float(), [each.float() for each in styles]


def torch_steps(params: Any, content: Any, style: Any, *, seconds: float) -> Iterator[Row]:
    """Yields a row for every program; `seconds` are those of a turn of steps."""
    height, width = content.shape[:2]
    size = f"{height}x{width}"
    for precision, compiled in _programs_at(size):
        name = "torch-compiled" if compiled else "torch"
        row = {"program": name, "size": size, "mode": "plain", "precision": precision}
        try:
            found = _measured(precision, compiled, seconds, params, content, style)
        except Exception as error:  # the others may do better
            reason = " ".join(str(error).split())[:200]
            yield {"what": "failed", **row, "error": f"{type(error).__name__}: {reason}"}
            continue
        megapixels = round(height * width / found["seconds"] / 1e6, 3)
        yield {"what": "step", **row, **found, "megapixels": megapixels}


def _programs_at(size: str) -> list[tuple[str, bool]]:
    """Returns what to measure at a size, precisions and whether compiled, as time is short."""
    if OnDevice.device != "cuda":
        return [("f32", False), ("bf16", False)]
    more = [("bf16", True), ("f32", True)] if size in AT_ALL_PRECISIONS else []
    return [("tf32", True), ("tf32", False), *more]


def _measured(precision: str, compiled: bool, seconds: float, *given: Any) -> Row:
    """Returns the seconds of a step, the best of three turns, the first loss and the peak."""
    began = time.perf_counter()
    painter = OnDevice(precision, *given, compiled=compiled)
    first = float(painter.update()[-1].detach())
    for _ in range(3):  # cudnn's choice, CUDA graphs
        painter.update()
    _wait()
    ready, count, turns = time.perf_counter() - began, 1, []
    for _ in range(4):
        began = time.perf_counter()
        for _ in range(count):
            painter.update()
        _wait()
        turns.append((time.perf_counter() - began) / count)
        count = max(1, min(64, int(seconds / turns[-1])))
    peak = torch.cuda.max_memory_allocated() if OnDevice.device == "cuda" else 0
    return {
        "seconds": min(turns),
        "compile_seconds": round(ready, 2),
        "first_total": first,
        "peak_bytes": peak,
    }


def _wait() -> None:
    if OnDevice.device == "cuda":
        torch.cuda.synchronize()
