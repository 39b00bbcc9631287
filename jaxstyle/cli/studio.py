"""The command `jaxstyle studio`: its page is served until it is told to stop."""

import time

from jaxstyle.cli.commands import StudioRequest
from jaxstyle.errors import Say
from jaxstyle.machine.process import Interruption


def keep_studio(asked: StudioRequest, interruption: Interruption, say: Say) -> int:
    """Serves the studio until it is told to stop, which is no failure."""
    from jaxstyle.view.address import LOCAL, bound, open_browser

    at = bound(asked.host, asked.port, asked="the studio")
    from jaxstyle.view.studio_folder import StudioFolder

    folder = StudioFolder(asked.folder)
    if asked.host not in LOCAL:
        say("warning: whoever is told the page's address can paint here and see all pictures")
    from jaxstyle.view.studio_server import serve_studio  # imports jax

    with folder.held(), interruption.noted_only():
        address, queue = serve_studio(folder, at)
        say(f"the studio: {address} (Ctrl-C ends it); its pictures are in {asked.folder}")
        open_browser(address)
        while not interruption.received:
            time.sleep(0.2)
        queue.close()
    return 0
