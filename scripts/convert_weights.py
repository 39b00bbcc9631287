"""Converts torchvision's VGG-16 or VGG-19 into a weight file, without torch.

    python scripts/convert_weights.py vgg19-dcbb9e9d.pth [-o vgg19.h5] [--force]

Without -o the file goes into the user's cache, where `--weights auto` finds a VGG-19. Exit codes: 0
done; 1 the file cannot be written; 2 bad input.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxstyle.errors import InputError
from jaxstyle.weights.pretrained import convert


def main(arguments: Sequence[str] | None = None) -> int:
    """Converts the file, prints where the result is, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Convert torchvision's VGG-16 or VGG-19.")
    parser.add_argument("file", type=Path, help="torchvision's .pth file")
    parser.add_argument("-o", "--output", type=Path, help="an .h5 file; default: the user's cache")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parsed = parser.parse_args(arguments)
    try:
        print(convert(parsed.file, parsed.output, overwrite=parsed.force))
    except FileExistsError as error:
        return _failed(f"{error}: --force replaces it", 2)
    except InputError as error:
        return _failed(str(error), 2)
    except OSError as error:
        return _failed(str(error), 1)
    return 0


def _failed(reason: str, exit_code: int) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
