"""Films as files: frames of one size to MP4 by ffmpeg, to GIF and WebP by Pillow."""

import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from jaxstyle.images.canvas import Picture

FRAMES_PER_SECOND = 24
SECONDS_HELD = 2
"""How long the last frame stays."""


def encode_film(frames: Sequence[Picture], suffix: str) -> bytes:
    """Returns a film as the bytes of a file; it is shown once more from its start for ever.

    Args:
      frames: one or more, uint8 (H, W, 3), of one size, whose sides are even for ".mp4".
      suffix: ".mp4", which needs imageio-ffmpeg, ".gif" (256 colors a frame) or ".webp".

    Raises:
      OSError: ffmpeg failed, or the temporary folder cannot be written.
    """
    if suffix == ".mp4":
        return _mp4(frames)
    images = [Image.fromarray(each) for each in frames]
    durations = [1000 // FRAMES_PER_SECOND] * len(images)
    durations[-1] = 1000 * SECONDS_HELD
    data, given = io.BytesIO(), {} if suffix == ".gif" else {"quality": 85, "method": 2}
    rest: dict[str, Any] = {"append_images": images[1:], "duration": durations, **given}
    images[0].save(data, format=suffix[1:].upper(), save_all=True, loop=0, **rest)
    return data.getvalue()


def _mp4(frames: Sequence[Picture]) -> bytes:
    """Returns H.264 as every player takes it; ffmpeg writes files alone, so there is one."""
    import imageio_ffmpeg  # an extra

    # else it forks with a function between, of which jax warns, since it has threads
    os.environ.setdefault("IMAGEIO_FFMPEG_NO_PREVENT_SIGINT", "1")
    height, width = frames[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        writer = imageio_ffmpeg.write_frames(
            *(str(path), (width, height)),
            fps=FRAMES_PER_SECOND,
            quality=7,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=["-movflags", "+faststart"],
        )
        writer.send(None)
        for frame in [*frames, *[frames[-1]] * (FRAMES_PER_SECOND * SECONDS_HELD)]:
            writer.send(frame.tobytes())
        writer.close()
        return path.read_bytes()
