"""What a run works on, and who reads its files: each once, for one run or for many."""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from jaxstyle.errors import InputError, Say, silent
from jaxstyle.images import picture_file
from jaxstyle.images.bands import Alpha, BandedPicture
from jaxstyle.images.canvas import Picture, total_steps
from jaxstyle.images.decoding import LARGE
from jaxstyle.images.picture_file import PLAIN
from jaxstyle.images.print_file import Print
from jaxstyle.images.proof import keeps_depth, read_proof
from jaxstyle.images.regions import (
    WHOLE,
    Regions,
    check_keep,
    grey,
    regions_of_colors,
    regions_of_masks,
    resize_keep,
    with_keep,
)
from jaxstyle.images.stored import (
    Arrays,
    PictureStore,
    StoredPicture,
    check_unchanged,
    in_bands,
)
from jaxstyle.machine.memory import gigabytes, memory_left
from jaxstyle.runs import record
from jaxstyle.runs.notices import INIT, PHOTO, Asked, notices_of
from jaxstyle.runs.request import Request, style_files
from jaxstyle.settings.hyperparams import Hyperparams
from jaxstyle.settings.recipe import INITS, Recipe, Sides
from jaxstyle.weights.activations import LayerArrays
from jaxstyle.weights.pretrained import WeightFile


class Settings(NamedTuple):
    """The settings of a run, from preset or picture, with the flags' changes."""

    recipe: Recipe
    hyper: Hyperparams
    preset: str
    init: str
    """A word, or a picture's path."""
    seed: int
    weights: str
    earlier: record.Record | None
    """The record that `--from` names."""
    chosen: Sequence[tuple[str, Any]] = ()
    """Settings that those which were given bring, with their values."""


class Inputs(NamedTuple):
    """What a run works on."""

    settings: Settings
    content: Picture
    styles: tuple[Picture, ...]
    init: Picture | str
    weight_file: WeightFile
    params: LayerArrays
    facts: record.Record
    """Base names and sha256 of the files: content, style, weights, masks, and init if it is one."""
    regions: Regions = WHOLE
    alpha: Alpha | None = None
    """How opaque the result is, (H, W) at the photo's size; None: all of it."""
    how: Print = PLAIN
    """How the result is written."""
    reading_bytes: int = 0
    """The most memory that decoding one of the pictures takes, of the large ones."""
    judge: LayerArrays | None = None
    """The parameters of the judge's network, where a single run's result is to be judged."""
    notices: tuple[str, ...] = ()
    """What is painted otherwise than was asked for."""


def masks_of(arguments: Request) -> dict[str, tuple[Path, ...]]:
    """Returns the masks of a request by what they are for, if there are any."""
    keep = () if arguments.keep is None else (arguments.keep,)
    found = {"regions": arguments.regions, "masks": arguments.masks, "keep": keep}
    return {name: paths for name, paths in found.items() if paths}


class Network(NamedTuple):
    """The network's weights, as they were read."""

    file: WeightFile
    params: LayerArrays
    facts: record.Record
    """Name and sha256. Taken now: the file may be gone or changed when the picture is saved."""


def _asked(
    arguments: Request, settings: Settings, content: Picture, styles: Sequence[Picture]
) -> Asked:
    """Returns what a run is made from, and what of it was asked for by flags."""
    others = {"seed": arguments.seed is not None, "alpha": arguments.alpha == "keep"}
    others["save_every"] = arguments.save_every > total_steps(settings.recipe, content)
    names = {*arguments.settings, *(name for name, given in others.items() if given)}
    made_from = settings.recipe, settings.hyper, settings.init
    return Asked(content, styles, *made_from, names, settings.chosen)


class Reader:
    """Reads the files of one run or of many, each once."""

    def __init__(self, *, keeps_files: bool = False) -> None:
        """Takes whether pictures stay in their files, see `images.stored`; large ones always do."""
        self.most_bytes = 0
        """The most memory that decoding one of the large pictures took."""
        self._store = PictureStore() if keeps_files else None
        self.picture = functools.cache(self._picture)
        self._facts = functools.cache(record.file_facts)
        self._regions: dict[Any, Regions] = {}
        self._alpha = functools.cache(self._alpha_of)
        self._lost_bits = functools.cache(picture_file.lost_bits)
        self._undecoded: set[Path] = set()
        """Deep files whose decoder failed, of which 8 bits are read."""
        self._is_transparent = functools.cache(picture_file.is_transparent)
        self.proof = functools.cache(read_proof)
        self._proofed = functools.cache(self._proof_of)

    def _picture(self, path: Path) -> Picture:
        (height, width), needed = picture_file.sides_and_bytes(path)
        is_large = height * width >= LARGE
        if is_large:
            self._check_memory(path, (height, width), needed)
        kind, needed = picture_file.depth_of(path)
        if self._store is None and not is_large and kind is None:
            return picture_file.load_picture(path)
        try:
            sha256 = self._facts(path)["sha256"]
        except OSError:
            return picture_file.load_picture(path)  # which says what is wrong
        if kind is not None:
            if is_large:
                self._check_memory(path, (height, width), needed)
            with contextlib.suppress(InputError):  # where Pillow can read 8 bits, it does
                return in_bands(path, sha256, deep=True)
            self._undecoded.add(path)
            if self._store is None and not is_large:
                return picture_file.load_picture(path)
        return (
            in_bands(path, sha256)
            if is_large
            else cast(PictureStore, self._store).open(path, sha256)
        )

    def _check_memory(self, path: Path, sides: Sides, needed: int) -> None:
        """Raises InputError if there is too little memory to decode a large picture."""
        self.most_bytes, memory = max(self.most_bytes, needed), memory_left()
        if needed > memory.bytes:
            raise InputError(
                f"reading {path}, {sides[0]}x{sides[1]}, needs about {gigabytes(needed)} of memory,"
                f" but {gigabytes(memory.bytes, up=False)} can be used ({memory.limit}): make it"
                " smaller"
            )

    def source(self, path: Path, proof: Path | None) -> Picture:
        """Returns a picture to paint from, as the press of a profile shows it if one is given."""
        return self.picture(path) if proof is None else self._proofed(path, proof)

    def _proof_of(self, path: Path, profile: Path) -> Picture:
        proof, picture = self.proof(profile), self.picture(path)
        if isinstance(picture, BandedPicture):
            return cast("Picture", picture.changed(proof, keep_depth=keeps_depth()))
        if isinstance(picture, StoredPicture):
            return picture.changed(proof)
        return proof(picture)

    def styles(self, arguments: Request) -> tuple[Picture, ...]:
        """Returns all style pictures of a run."""
        return tuple(map(self.picture, style_files(arguments)))

    def _style_facts(self, arguments: Request) -> record.Record:
        """Returns the facts of the style, of several as if they were one, and of each of them."""
        several = list(map(self._facts, style_files(arguments)))
        return several[0] if len(several) == 1 else record.facts_of_several(several)

    def init(self, settings: Settings) -> Picture | str:
        """Returns what the canvas is at first: a word, or a picture."""
        return settings.init if settings.init in INITS else self.picture(Path(settings.init))

    def inputs(self, arguments: Request, settings: Settings, network: Network) -> Inputs:
        """Returns all that a run works on, with the facts of the files as they are now.

        That its regions go with its settings was checked before the network was read.

        Raises:
          InputError: a picture that cannot be used.
        """
        facts: record.Record = {
            "content": self._facts(arguments.content),
            "style": self._style_facts(arguments),
            "weights": network.facts,
        }
        if settings.init not in INITS:
            facts["init"] = self._facts(Path(settings.init))
        for name, paths in masks_of(arguments).items():
            facts[name] = record.facts_of_several([self._facts(path) for path in paths])
        if arguments.proof is not None:
            facts["proof"] = self._facts(arguments.proof)
        sources = (arguments.content, *style_files(arguments))
        content, *styles = (self.source(path, arguments.proof) for path in sources)
        regions = self.regions(arguments, say=silent)
        init = self.init(settings)
        alpha = self.alpha(arguments)
        if alpha is not None:
            facts["alpha"] = {"name": "keep", "sha256": facts["content"]["sha256"]}
        given: Any = {"regions": regions, "alpha": alpha}
        pictures = content, tuple(styles)
        asked, white = _asked(arguments, settings, *pictures), self._over_white(arguments)
        cut = self._cut(arguments, settings)
        return Inputs(
            *(settings, *pictures, init, network.file, network.params, facts),
            notices=notices_of(asked._replace(**given, over_white=white, cut=cut)),
            reading_bytes=self.most_bytes,
            **given,
        )

    def regions(self, arguments: Request, *, say: Say) -> Regions:
        """Returns the regions that a request's masks say; `say` is told once what is not used.

        Equal masks have one object, by which sweeps share; where files are kept, what it has is
        made of them when it is needed.

        Raises:
          InputError: masks that cannot be used.
        """
        masks = arguments.regions, arguments.masks, arguments.keep
        photo = arguments.content if arguments.alpha == "keep" else None
        key = *masks, tuple(style_files(arguments)), photo
        if not any(masks) and photo is None:
            return WHOLE
        if key not in self._regions:
            found = self._read_regions(arguments, say)
            if self._store is not None:
                found = self._stored(key, arguments, found)
            self._regions[key] = found
        return self._regions[key]

    def _stored(self, key: Any, arguments: Request, found: Regions) -> Regions:
        """Returns regions that are read again when they are looked at, unless that was just now."""
        store = cast(PictureStore, self._store)
        stored: list[Any] = store.stored(
            key, _arrays_of(found), lambda: _arrays_of(self._read_regions(arguments, silent))
        )
        content = None if found.content is None else stored.pop(0)
        keep = None if found.keep is None else stored.pop()
        return Regions(content, tuple(stored), keep)

    def _read_regions(self, arguments: Request, say: Say) -> Regions:
        styles, found = style_files(arguments), WHOLE
        if arguments.regions:
            paths = arguments.regions
            if len(paths) != 1 + len(styles):
                raise InputError(
                    f"--regions are {len(paths)} masks: give the photo's, then one for each of"
                    f" {len(styles)} style pictures"
                )
            photo, *others = map(self._mask, paths)
            found, unused = regions_of_colors(photo, others, names=[str(path) for path in paths])
            for line in unused:
                say(line)
        if arguments.masks:
            masks = [self._mask(path) for path in arguments.masks]
            found = regions_of_masks(masks, [self.picture(path) for path in styles])
        keep, transparency = None, self.alpha(arguments)
        if arguments.keep is not None:
            keep = grey(self._mask(arguments.keep)) >= 0.5
            check_keep(keep)
        if transparency is not None:
            alpha: Any = np.asarray(transparency)  # it may be in a file still
            clear = alpha < np.iinfo(alpha.dtype).max / 2
            keep = clear if keep is None else clear | resize_keep(keep, alpha.shape)
        return found if keep is None or not keep.any() else with_keep(found, keep)

    def _mask(self, path: Path) -> Picture:
        return np.asarray(self.picture(path))

    def alpha(self, arguments: Request) -> Alpha | None:
        """Returns how opaque the photo is, if the result is to be so, and if it is not all."""
        return self._alpha(arguments.content) if arguments.alpha == "keep" else None

    def _alpha_of(self, path: Path) -> Alpha | None:
        found, store = picture_file.load_alpha(path), self._store
        if found is None or store is None:
            return found
        sha256 = self._facts(path)["sha256"]

        def read() -> Arrays:
            check_unchanged(path, sha256)
            return (cast("NDArray[Any]", picture_file.load_alpha(path)),)

        return cast("Alpha", store.stored((path, "alpha"), (found,), read)[0])

    def _cut(self, arguments: Request, settings: Settings) -> list[tuple[str, str]]:
        """Returns which pictures have more bits than are read, and why: see `lost_bits`."""
        named = [(PHOTO, arguments.content)]
        named += [] if settings.init in INITS else [(INIT, Path(settings.init))]
        lost = [(name, self._lost(path)) for name, path in named]
        photo = self.picture(arguments.content)
        if arguments.proof is not None and isinstance(photo, BandedPicture) and photo.is_deep:
            lost[0] = (PHOTO, None if keeps_depth() else "extra")
        return [(name, why) for name, why in lost if why is not None]

    def _lost(self, path: Path) -> str | None:
        return "kind" if path in self._undecoded else self._lost_bits(path)

    def _over_white(self, arguments: Request) -> list[str]:
        """Returns which pictures have transparent parts that count as white."""
        styles = [path.name for path in style_files(arguments) if self._is_transparent(path)]
        if arguments.alpha == "keep" or not self._is_transparent(arguments.content):
            return styles
        return [PHOTO, *styles]


def _arrays_of(regions: Regions) -> Arrays:
    """Returns all that regions have, in the order of their fields."""
    several = (regions.content, *regions.styles, regions.keep)
    return tuple(each for each in several if each is not None)
