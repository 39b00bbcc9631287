"""The server of the page: on this host, under an address that cannot be guessed."""

import asyncio
import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from jaxstyle.view.live import BETWEEN, Live

_SAFE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
}


def application(live: Live, token: str) -> Starlette:
    """Returns the page's application; only addresses that begin with the token are answered."""

    def page(_: WebRequest) -> Response:
        text = (Path(__file__).parent / "page.html").read_text("utf-8")
        return HTMLResponse(text, headers=_SAFE)

    def canvas(_: WebRequest) -> Response:
        data = live.picture()
        if data is None:
            return Response(status_code=404, headers=_SAFE)
        return Response(data, media_type="image/png", headers=_SAFE)

    def stop(_: WebRequest) -> Response:
        live.stop()
        return Response(status_code=204, headers=_SAFE)

    async def events(_: WebRequest) -> Response:
        return StreamingResponse(_told(live), media_type="text/event-stream", headers=_SAFE)

    routes = [
        Route("/", page),
        Route("/canvas.png", canvas),
        Route("/events", events),
        Route("/stop", stop, methods=["POST"]),
    ]
    return Starlette(routes=[Mount(f"/{token}", routes=routes)])


async def _told(live: Live) -> AsyncIterator[str]:
    """Tells what is new, a few times a second, until the run has ended."""
    live.looking += 1
    try:
        before = None
        while True:
            facts = live.facts()
            if facts != before:
                yield f"data: {json.dumps(facts)}\n\n"
                before = facts
            if facts["how"]:
                return
            await asyncio.sleep(BETWEEN / 2)
    finally:
        live.looking -= 1


def serve(live: Live, at: socket.socket) -> str:
    """Serves the page from a thread of its own until the process ends; returns its address."""
    token = secrets.token_urlsafe(16)
    settings = uvicorn.Config(application(live, token), log_config=None, lifespan="off")
    server = uvicorn.Server(settings)
    threading.Thread(target=server.run, kwargs={"sockets": [at]}, daemon=True).start()
    host, port = at.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/{token}/"
