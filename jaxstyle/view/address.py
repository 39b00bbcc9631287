"""Where the page of a run is: its socket, bound before any work, and whether the extra is there."""

import importlib.util
import socket

from jaxstyle.errors import InputError

LOCAL = ("127.0.0.1", "localhost", "::1")


def bound(host: str, port: int) -> socket.socket:
    """Returns a socket at an address; port 0 takes a free one.

    Raises:
      InputError: the address cannot be used, or the extra that serves the page is missing.
    """
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise InputError("--view needs starlette and uvicorn: pip install 'jaxstyle[view]'")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--view cannot use {host}, port {port}: {error}") from None
