"""Who may ask a page's server: those with its token, and no page of another site for them."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from jaxstyle.view.address import LOCAL

Scope = MutableMapping[str, Any]
Messages = Callable[..., Awaitable[Any]]

SAFE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:;"
    " style-src 'self' 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'",
}
"""Headers of every answer: nothing is kept, and nothing comes from elsewhere."""


def is_own(headers: dict[str, str], *, local: bool) -> bool:
    """Whether a request comes from a page of this server, or from no page at all.

    A name of another site that leads here, as DNS can be made to say, is no host of ours; and a
    browser names the site of the page that asks.

    Args:
      headers: of the request, in lower case.
      local: whether the server is for this machine alone.
    """
    host = headers.get("host", "")
    if local and urlsplit(f"//{host}").hostname not in LOCAL:
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host


class Guard:
    """An ASGI application that answers what is `is_own` by another, and refuses all else."""

    def __init__(self, app: Messages, *, local: bool) -> None:
        """Takes the application, and whether it is for this machine alone."""
        self._app, self._local = app, local

    async def __call__(self, scope: Scope, receive: Messages, send: Messages) -> None:
        """Answers a request."""
        if scope["type"] == "http":
            pairs = {key.decode("latin-1"): v.decode("latin-1") for key, v in scope["headers"]}
            if not _is_own_safely(pairs, local=self._local):
                refusal = PlainTextResponse("not from here", status_code=403, headers=SAFE)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_own_safely(headers: dict[str, str], *, local: bool) -> bool:
    try:
        return is_own(headers, local=local)
    except ValueError:  # no host at all, as urlsplit finds
        return False


def picture_answer(data: bytes | None, kind: str = "image/jpeg") -> Response:
    """Returns a picture as an answer; 404 if there is none."""
    if data is None:
        return Response(status_code=404, headers=SAFE)
    return Response(data, media_type=kind, headers=SAFE)


def file_answer(name: str, data: bytes) -> Response:
    """Returns a file of ours as an answer."""
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
    return Response(data, media_type=kinds[name.rpartition(".")[2]], headers=SAFE)


def events_answer(told: AsyncIterator[str]) -> Response:
    """Returns what a page is told, one event after another, as an answer that goes on."""
    return StreamingResponse(told, media_type="text/event-stream", headers=SAFE)
