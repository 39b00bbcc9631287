"""The studio's folder: pictures that were given to it, and its results with what was asked for.

    FOLDER/pictures/HASH-NAME.png     as they were uploaded
    FOLDER/results/NNNN-NAME/         picture.png, run.json

Names that a page sends are looked up among those that are there, so that none leads elsewhere.
"""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from jaxstyle import files
from jaxstyle.errors import InputError, silent
from jaxstyle.images.picture_file import load_picture
from jaxstyle.images.regions import check_regions
from jaxstyle.runs.inputs import check_sizes
from jaxstyle.runs.paths import PICTURE_SUFFIXES
from jaxstyle.runs.reader import Reader
from jaxstyle.runs.request import Request
from jaxstyle.settings.presets import PRESETS, preset
from jaxstyle.settings.text import as_text

MOST_UPLOADED = 64 * 2**20
"""Of one picture that is uploaded."""

PICTURE, RUN_FILE, LOCK_FILE = "picture.png", "run.json", ".lock"

QUALITIES = ("draft", "default", "fine")
"""Presets that differ in steps alone."""

PALETTES = ("style", "auto", "photo", "match")
"""Which colors the studio offers; see the setting."""


@dataclass(frozen=True)
class Order:
    """What a page asks for, checked."""

    content: str
    """Name of a file in the folder of pictures; likewise the others."""
    style: str
    size: int
    quality: str
    photo: float
    """How much the photo counts, as a multiple of the usual content weight."""
    colors: str
    strokes: float
    """As a multiple of the usual size; see the setting style_scale."""
    keep: str | None = None
    """A mask of the photo, white where it is left as it is."""
    regions: tuple[str, ...] = ()
    """None, or a mask of the photo and one of the style."""


class StudioFolder:
    """The folder of a studio."""

    def __init__(self, root: Path) -> None:
        """Makes the folder, if it is missing.

        Raises:
          InputError: it cannot be made, or not be written.
        """
        self.root, self.pictures, self.results = root, root / "pictures", root / "results"
        try:
            for each in (self.pictures, self.results):
                each.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"the folder {root} cannot be made: {reason}") from None
        for each in (self.pictures, self.results):
            files.check_writable(each)
        self._reading = threading.Lock()
        """Pictures are decoded one at a time, however many are sent at once."""

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other studios from the folder: each would take the other's runs for lost ones.

        Raises:
          InputError: another studio is at work there.
        """
        lock = filelock.FileLock(self.root / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise InputError(
                f"another studio is at work in {self.root}: choose another folder, or end it"
            ) from None
        except (OSError, NotImplementedError):  # some network disks have no locks
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def add(self, name: str, data: bytes) -> dict[str, Any]:
        """Keeps a picture; returns its "name" here, "width" and "height".

        Raises:
          InputError: it is no picture that can be read, or too large.
        """
        suffix = Path(name).suffix.lower()
        if suffix not in PICTURE_SUFFIXES:
            kinds = " ".join(PICTURE_SUFFIXES)
            raise InputError(f"{name[-60:]!r} is not a kind of picture that can be read: {kinds}")
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")[:40] or "picture"
        path = self.pictures / f"{hashlib.sha256(data).hexdigest()[:12]}-{stem}{suffix}"
        trial = path.with_name(f".{path.name}")  # checked under a name that no page can use
        with self._reading:
            try:
                files.write_whole(trial, data, overwrite=True)
                height, width = load_picture(trial).shape[:2]
                trial.replace(path)
            except InputError as error:
                raise InputError(str(error).replace(str(trial), name[-60:])) from None
            finally:
                trial.unlink(missing_ok=True)
        return {"name": path.name, "width": width, "height": height}

    def picture(self, name: Any) -> Path:
        """Returns the path of a picture that was given; raises InputError if it is not there."""
        for path in self.pictures.iterdir():
            if path.name == name and not path.name.startswith("."):
                return path
        raise InputError("there is no such picture: choose it again")

    def result(self, name: str) -> Path | None:
        """Returns the folder of a result by its name; None if there is none."""
        found = (each for each in self.results.iterdir() if each.name == name and each.is_dir())
        return next(found, None)

    def begin(self, order: Order) -> tuple[str, Path]:
        """Makes the folder of a new result; returns its name and path."""
        taken = [number_of(each.name) for each in self.results.iterdir()]
        stems = (Path(each).stem.partition("-")[2] for each in (order.content, order.style))
        name = f"{max(taken, default=0) + 1:04d}-{'-'.join(stems)}"
        path = self.results / name
        path.mkdir()
        return name, path

    def write(self, name: str, facts: dict[str, Any]) -> None:
        """Writes what is known of a result."""
        data = json.dumps(facts, indent=1).encode()
        files.write_whole(self.results / name / RUN_FILE, data, overwrite=True)

    def history(self) -> list[dict[str, Any]]:
        """Returns what is known of all results, the latest first; none that others have changed."""
        found = []
        for path in sorted(self.results.iterdir(), key=lambda each: number_of(each.name)):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
                facts = json.loads((path / RUN_FILE).read_text("utf-8"))
                texts = facts["name"], facts["state"], facts["command"], facts["asked"]["content"]
                is_whole = all(isinstance(each, str) for each in texts)
                known = facts["asked"]["quality"] in QUALITIES
                if is_whole and known and facts["name"] == path.name:
                    found.append(facts)
        return found[::-1]

    def check(self, order: Order) -> None:
        """Reads the pictures of an order, as the command line does before its network.

        How much memory there is the run itself finds out: another one may use it now.

        Raises:
          InputError: pictures, or masks, that cannot be painted so.
        """
        request, reader = request_of(order, self), Reader()
        recipe, _ = preset(order.quality, **request.settings)
        try:
            with self._reading:
                content, styles = reader.picture(request.content), reader.styles(request)
                check_sizes(content, styles, recipe, Path(PICTURE), device=None, processes=None)
                check_regions(reader.regions(request, say=silent), recipe)
        except InputError as error:
            raise InputError(str(error).replace(f"{self.pictures}/", "")) from None


def number_of(name: str) -> int:
    """Returns the number with which the name of a result begins; 0 if there is none."""
    found = re.match("[0-9]{4,}", name)
    return int(found[0]) if found else 0


def read_order(given: Any, folder: StudioFolder) -> Order:
    """Returns what a page asks for.

    Raises:
      InputError: something that cannot be painted, as the command line would say it.
    """
    if not isinstance(given, dict) or given.keys() - Order.__dataclass_fields__:
        raise InputError("that is no order: reload the page")
    masks = given.get("regions", [])
    if not isinstance(masks, list) or len(masks) not in (0, 2):
        raise InputError("regions are a mask of the photo and one of the painting")
    order = Order(
        content=folder.picture(given.get("content")).name,
        style=folder.picture(given.get("style")).name,
        size=_whole(given, "size", 300),
        quality=_one_of(given, "quality", QUALITIES, "default"),
        photo=_number(given, "photo", 1.0),
        colors=_one_of(given, "colors", PALETTES, "style"),
        strokes=_number(given, "strokes", 1.0),
        keep=None if given.get("keep") is None else folder.picture(given["keep"]).name,
        regions=tuple(folder.picture(each).name for each in masks),
    )
    preset(order.quality, **settings_of(order))  # raises for what cannot be used
    folder.check(order)
    return order


def _number(given: dict[str, Any], name: str, default: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise InputError(f"{name} is a number above 0")
    return float(value)


def _whole(given: dict[str, Any], name: str, default: int) -> int:
    value = _number(given, name, default)
    if not value.is_integer():
        raise InputError(f"{name} is a whole number")
    return int(value)


def _one_of(given: dict[str, Any], name: str, known: Sequence[str], default: str) -> str:
    value = given.get(name, default)
    if value not in known:
        raise InputError(f"{name} is one of {', '.join(known)}")
    return str(value)


def settings_of(order: Order) -> dict[str, Any]:
    """Returns the settings in which an order differs from its preset."""
    weight = PRESETS[order.quality].hyper.content_weight
    found: dict[str, Any] = {"size": order.size}
    if order.photo != 1:
        found["content_weight"] = float(f"{weight * order.photo:.6g}")
    if order.strokes != 1:
        found["style_scale"] = (order.strokes,)
    if order.colors != "style":
        found["colors"] = order.colors
    return found


def request_of(order: Order, folder: StudioFolder) -> Request:
    """Returns what the command line of an order, see `words_of`, asks for, without its output."""
    at = folder.pictures
    nothing = ("output", "log", "from_picture", "weights", "init", "seed", "device")
    rest: Any = {**dict.fromkeys(nothing), **dict.fromkeys(("force", "json", "plan"), False)}
    return Request(
        content=at / order.content,
        styles=(at / order.style,),
        preset=order.quality,
        settings=settings_of(order),
        keep=None if order.keep is None else at / order.keep,
        regions=tuple(at / each for each in order.regions),
        save_every=0,
        quiet=True,
        **rest,
    )


def words_of(order: Order, folder: StudioFolder) -> list[str]:
    """Returns the words of the command line that paints the same, without its output."""
    at = folder.pictures
    words = ["--content", str(at / order.content), "--style", str(at / order.style)]
    words += ["--preset", order.quality] if order.quality != "default" else []
    for name, value in settings_of(order).items():
        words += [f"--{name.replace('_', '-')}", as_text(value)]
    if order.keep is not None:
        words += ["--keep", str(at / order.keep)]
    if order.regions:
        words += ["--regions", *(str(at / each) for each in order.regions)]
    return words
