"""The server of the page: on this host, under an address that cannot be guessed."""

import asyncio
import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route

from jaxstyle.view.address import LOCAL, address_of
from jaxstyle.view.guard import SAFE, Guard, file_answer, picture_answer
from jaxstyle.view.live import BETWEEN, Live

FOUND_IN = {
    "look.css": "jaxstyle.sweeps",
    **dict.fromkeys(("page.css", "parts.js", "brush.js"), "jaxstyle.view"),
}
"""The files that pages have in common, and the packages in which they are."""

Thumb = Callable[[int, bool], bytes | None]
"""Returns the picture of a run of a sweep as a JPEG file, small or large; None if there is none."""


def file_routes(page: str, script: str) -> list[Route]:
    """Returns the routes of a page, its script, and what all pages have in common."""

    def route(path: str, package: str, name: str) -> Route:
        data = resources.files(package).joinpath(name).read_bytes()
        return Route(path, lambda _: file_answer(name, data))

    shared = [route(f"/{name}", package, name) for name, package in FOUND_IN.items()]
    own = [route("/", "jaxstyle.view", page), route(f"/{script}", "jaxstyle.view", script)]
    return [*own, *shared]


def action(path: str, act: Callable[[], object]) -> Route:
    """Returns the route of something that a button does."""

    def answer(_: WebRequest) -> Response:
        act()
        return Response(status_code=204, headers=SAFE)

    return Route(path, answer, methods=["POST"])


def application(live: Live, token: str, *, local: bool = True, thumb: Thumb | None = None) -> Guard:
    """Returns the page's application; only addresses that begin with the token are answered.

    Args:
      live: what is shown.
      token: of the address.
      local: whether the server is for this machine alone.
      thumb: where the pictures of a sweep's runs come from.
    """

    def style(request: WebRequest) -> Response:
        return picture_answer(live.given("style", request.path_params["number"]))

    def run(request: WebRequest) -> Response:
        number, large = request.path_params["number"], "large" in request.query_params
        return picture_answer(None if thumb is None else thumb(number, large))

    async def events(_: WebRequest) -> Response:
        return StreamingResponse(_told(live), media_type="text/event-stream", headers=SAFE)

    routes = [
        *file_routes("page.html", "view.js"),
        Route("/canvas.png", lambda _: picture_answer(live.picture(), "image/png")),
        Route("/canvas.jpg", lambda _: picture_answer(live.picture(".jpg"))),
        Route("/content.jpg", lambda _: picture_answer(live.given("content"))),
        Route("/style/{number:int}.jpg", style),
        Route("/run/{number:int}.jpg", run),
        Route("/events", events),
        action("/stop", live.stop),
        *([action("/save", live.save_now)] if live.can_save else []),
    ]
    return Guard(Starlette(routes=[Mount(f"/{token}", routes=routes)]), local=local)


async def _told(live: Live) -> AsyncIterator[str]:
    """Tells what is new, a few times a second, until the run has ended."""
    live.looking += 1
    try:
        before, run, sent = None, -1, 0
        while True:
            facts = live.facts()
            more = live.curves(run, sent)
            if facts != before or more is not None:
                before = facts
                if more is not None:
                    run, sent = more["run"], more["from"] + len(more["terms"]["total"])
                yield f"data: {json.dumps({**facts, **({'more': more} if more else {})})}\n\n"
            if facts["how"]:
                return
            await asyncio.sleep(BETWEEN / 2)
    finally:
        live.looking -= 1


def serve_page(make: Callable[..., Any], at: socket.socket) -> str:
    """Serves an application from a thread of its own until the process ends; returns its address.

    Args:
      make: returns the application, given its token, and as `local` whether the socket is for this
        machine alone.
      at: from `bound`.
    """
    token = secrets.token_urlsafe(16)
    app = make(token, local=at.getsockname()[0] in LOCAL)
    settings = uvicorn.Config(app, log_config=None, lifespan="off")
    server = uvicorn.Server(settings)
    threading.Thread(target=server.run, kwargs={"sockets": [at]}, daemon=True).start()
    return f"{address_of(at)}/{token}/"


def serve(live: Live, at: socket.socket, *, thumb: Thumb | None = None) -> str:
    """Serves the page of a run or a sweep, see `serve_page`."""
    return serve_page(lambda token, local: application(live, token, local=local, thumb=thumb), at)
