"""The server of the page: on this host, under an address that cannot be guessed."""

import asyncio
import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable
from importlib import resources
from string import Template
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import Response
from starlette.routing import Mount, Route

from jaxstyle.view.address import LOCAL, address_of
from jaxstyle.view.guard import SAFE, Guard, events_answer, file_answer, picture_answer
from jaxstyle.view.live import BETWEEN, Live

FOUND_IN = {
    "look.css": "jaxstyle.sweeps",
    **dict.fromkeys(("page.css", "parts.js", "brush.js"), "jaxstyle.view"),
}
"""The files that pages have in common, and the packages in which they are."""

SHARED_PARTS = ("frame", "stage", "curves")
"""The parts of pages, as HTML, that all have: the whole document, the picture, the losses."""

Thumb = Callable[[int, bool], bytes | None]
"""Returns the picture of a run of a sweep as a JPEG file, small or large; None if there is none."""


def html_of(body: str, script: str, title: str) -> bytes:
    """Returns a page as HTML: its own body, in the frame and with the parts that all pages have.

    Args:
      body: name of its file, without .html.
      script: likewise, without .js.
      title: of the page.
    """
    text = {name: _read("jaxstyle.view", f"{name}.html").decode() for name in (body, *SHARED_PARTS)}
    own = Template(text[body]).substitute(stage=text["stage"], curves=text["curves"])
    found = Template(text["frame"]).substitute(title=title, body=own, script=f"{script}.js")
    return found.encode()


def _read(package: str, name: str) -> bytes:
    return resources.files(package).joinpath(name).read_bytes()


def file_routes(body: str, script: str, title: str) -> list[Route]:
    """Returns the routes of a page, see `html_of`, of its script, and of what all pages share."""

    def route(path: str, name: str, data: bytes) -> Route:
        return Route(path, lambda _: file_answer(name, data))

    own = {f"{script}.js": "jaxstyle.view", **FOUND_IN}
    parts = [route(f"/{name}", name, _read(package, name)) for name, package in own.items()]
    return [route("/", "page.html", html_of(body, script, title)), *parts]


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
        return events_answer(_told(live))

    routes = [
        *file_routes("page", "view", "jaxstyle"),
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
