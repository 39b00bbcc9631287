"""The flags that say on how many devices: of sweeps and of one picture alike."""

from dataclasses import dataclass
from typing import Any

from jaxstyle.errors import InputError
from jaxstyle.texts import read_coordinator, read_shard, read_whole


@dataclass(frozen=True, kw_only=True)
class DeviceFlags:
    """What the command line says of them."""

    most: int | None = None
    """How many to use, of each process."""
    distributed: str | None = None
    """"auto", or "HOST:PORT,I/N": coordinator and this process, counted from 1."""

    @property
    def several(self) -> bool:
        """Whether one picture shall be shared among several devices."""
        return (self.most or 1) > 1 or self.distributed is not None

    @property
    def processes(self) -> int | None:
        """How many there are; None where only jax will know."""
        if self.distributed is None:
            return 1
        if self.distributed == "auto":
            return None
        return read_shard(self.distributed.rpartition(",")[2])[1]


def add_device_flags(group: Any) -> None:
    """Adds the flags to a group of an argument parser."""
    add = group.add_argument
    add(
        "--devices",
        type=read_whole,
        metavar="N",
        help="of the devices that are there, use no more than N: a sweep paints a setting on each,"
        " one picture has its rows shared among them; default: all for a sweep or with"
        " --distributed, else 1",
    )
    add(
        "--distributed",
        nargs="?",
        const="auto",
        type=read_coordinator,
        metavar="HOST:PORT,I/N",
        help="run as one program with other hosts' processes, all of them given the same command"
        " and files: found by itself on TPU pods and under Slurm, else the coordinator and that"
        " this is process I of N; default: alone",
    )


def take_device_flags(parsed: dict[str, Any]) -> DeviceFlags:
    """Takes these flags out of a parser's result.

    Raises:
      InputError: they were given with a flag that does not paint.
    """
    given = {name: parsed.pop(name) for name in ("devices", "distributed")}
    for name in (name for name, value in given.items() if value is not None):
        if parsed["collect"] is not None:
            raise InputError(f"--collect only gathers what is there: leave --{name} out")
        if parsed["plan"]:
            raise InputError(
                f"--plan is for one device: leave --{name} out; of N that share a picture each"
                " needs about an N-th of what the plain way takes"
            )
    return DeviceFlags(most=given["devices"], distributed=given["distributed"])
