"""How a run starts: its sizes, whether they fit, and whether all processes do the same."""

import contextlib
import json
from collections.abc import Sequence

import jax

from jaxstyle.cli import Arguments
from jaxstyle.device import choose_device, device_room, memories
from jaxstyle.errors import InputError
from jaxstyle.inputs import Inputs, run_record
from jaxstyle.levels import Level, levels
from jaxstyle.plan import check_fits
from jaxstyle.processes import agree, all_have, join, together
from jaxstyle.recipe import for_several_devices
from jaxstyle.resuming import Start
from jaxstyle.room import Room
from jaxstyle.shards import own_of


def sizes_of(
    arguments: Arguments, inputs: Inputs, start: Start | None, devices: Sequence[jax.Device]
) -> list[Level]:
    """Returns the sizes of a run, once it is known that all processes can begin it.

    Raises:
      InputError: in every process, if one has too little memory or was given something else.
    """
    plan = together(lambda: fitting_levels(inputs, device_room(own_of(devices)), devices))
    _check_all_alike(arguments, inputs, start)
    return plan if start is None or len(devices) > 1 else _as_begun(plan, start)


def tell_refusal(arguments: Arguments) -> None:
    """Tells the other processes, which wait for this one, that it refuses its input."""
    with contextlib.suppress(InputError):
        join(arguments.devices.distributed)
        choose_device(arguments.device, say=lambda _: None)
        agree([True])


def fitting_levels(inputs: Inputs, room: Room, devices: Sequence[jax.Device] = ()) -> list[Level]:
    """Returns a run's sizes; raises InputError if they need more memory than there is.

    `devices` are those that share the picture, if there are several; the room is that of one.
    """
    recipe = inputs.settings.recipe
    if len(devices) > 1:
        recipe, room = for_several_devices(recipe), room._replace(parts=memories(devices))
    plan = levels(inputs.content, inputs.style, recipe=recipe, room=room)
    sides = plan[-1].content.shape[:2], plan[-1].style.shape[:2]
    check_fits(*sides, recipe=recipe, room=room, started=True)
    return plan


def _check_all_alike(arguments: Arguments, inputs: Inputs, start: Start | None) -> None:
    flags, header = arguments.checkpoints, None if start is None else start.header
    given = [arguments.devices.most, arguments.save_every, flags.wanted, flags.every]
    if not all_have(json.dumps([run_record(inputs), given, header])):
        raise InputError(
            "the processes differ in pictures, settings, versions or checkpoints: give all of them"
            " the same command and files"
        )


def _as_begun(plan: list[Level], start: Start) -> list[Level]:
    """Returns the sizes computed the way they were, which "auto" need not choose again."""
    ways = start.header.run["memory"]
    return [level._replace(memory=way) for level, way in zip(plan, ways, strict=True)]
