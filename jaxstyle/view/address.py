"""Where a page is: its socket, bound before any work, whether the extra is there, its browser."""

import contextlib
import importlib.util
import os
import socket
import sys
import threading
import webbrowser

from jaxstyle.errors import InputError

LOCAL = ("127.0.0.1", "localhost", "::1")

ANY = ("0.0.0.0", "::")
"""Hosts that mean every address of this machine, and are none that a browser opens."""

NOWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses that RFC 5737 and RFC 3849 keep for documents: nothing is sent there."""


def bound(host: str, port: int, *, asked: str = "--view") -> socket.socket:
    """Returns a socket at an address; port 0 takes a free one.

    Raises:
      InputError: the address cannot be used, or the extra that serves the page is missing; `asked`
        is what needs it.
    """
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise InputError(f"{asked} needs starlette and uvicorn: pip install 'jaxstyle[view]'")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        raise InputError(f"{asked} cannot use {host}, port {port}: {error}") from None


def address_of(at: socket.socket) -> str:
    """Returns the address, without a path, under which a browser finds a socket.

    One that takes every address of this machine is found under the one that it has in its network.
    """
    host, port = at.getsockname()[:2]
    if host in ANY:
        host = _own_address(at.family) or socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _own_address(family: int) -> str | None:
    """Returns the address that this machine has for others; None if there is no network.

    A socket of datagrams only learns its own address by `connect`: nothing is sent.
    """
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((NOWHERE[socket.AddressFamily(family)], 9))
        return str(probe.getsockname()[0])
    return None


def open_browser(address: str) -> None:
    """Opens a page where someone sits: at a terminal of a machine with a screen."""
    here = sys.stderr is not None and sys.stderr.isatty()
    has_screen = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if here and has_screen and not os.environ.get("SSH_CONNECTION"):
        threading.Thread(target=_open, args=(address,), daemon=True).start()


def _open(address: str) -> None:
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(address)
