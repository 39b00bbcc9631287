"""The studio: a page on which pictures are chosen, painted, watched, compared and kept."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from jaxstyle.errors import InputError
from jaxstyle.runs.output_name import numbered
from jaxstyle.view.guard import SAFE, Guard, events_answer, picture_answer
from jaxstyle.view.live import LONGEST_SHOWN
from jaxstyle.view.server import file_routes, serve_page
from jaxstyle.view.studio_folder import MOST_UPLOADED, PICTURE, StudioFolder, read_order
from jaxstyle.view.studio_queue import Queue, latest_step
from jaxstyle.view.thumbs import THUMB_SIDE, small_copy

BETWEEN_NEWS = 0.5
"""Seconds from one look at what is new to the next."""

MOST_ORDER_BYTES = 2**16


def studio_application(
    folder: StudioFolder, queue: Queue, token: str, *, local: bool = True
) -> Guard:
    """Returns the studio's application; only addresses that begin with the token are answered."""

    async def events(_: WebRequest) -> Response:
        return events_answer(_news_of(queue))

    routes = [
        *file_routes("studio", "studio", "jaxstyle studio"),
        Route("/events", events),
        *_picture_routes(folder),
        *_run_routes(folder, queue),
    ]
    return Guard(Starlette(routes=[Mount(f"/{token}", routes=routes)]), local=local)


def _picture_routes(folder: StudioFolder) -> list[Route]:
    async def add(request: WebRequest) -> Response:
        try:
            data = await _body(request, MOST_UPLOADED)
            name = request.query_params.get("name", "")
            found = await run_in_threadpool(folder.add, name, data)
        except InputError as error:
            return _refused(error)
        except OSError as error:
            return PlainTextResponse(f"it cannot be kept: {error.strerror}", 507, headers=SAFE)
        return JSONResponse(found, 201, headers=SAFE)

    def look(request: WebRequest) -> Response:
        try:
            path = folder.picture(request.path_params["name"])
        except InputError:
            return picture_answer(None)
        return picture_answer(small_copy(path, LONGEST_SHOWN))

    return [
        Route("/pictures", add, methods=["POST"]),
        Route("/pictures/{name}", look),
    ]


def _run_routes(folder: StudioFolder, queue: Queue) -> list[Route]:
    async def order(request: WebRequest) -> Response:
        try:
            given = json.loads(await _body(request, MOST_ORDER_BYTES))
            name = await run_in_threadpool(lambda: queue.add(read_order(given, folder)))
        except InputError as error:
            return _refused(error)
        except (ValueError, RecursionError):
            return PlainTextResponse("that is no order: reload the page", 400, headers=SAFE)
        except OSError as error:
            return PlainTextResponse(f"it cannot be kept: {error.strerror}", 507, headers=SAFE)
        return JSONResponse({"name": name}, 201, headers=SAFE)

    def stop(request: WebRequest) -> Response:
        there = queue.stop(request.path_params["name"])
        return Response(status_code=204 if there else 404, headers=SAFE)

    def look(request: WebRequest) -> Response:
        path = folder.result(request.path_params["name"])
        if path is None:
            return picture_answer(None)
        side = LONGEST_SHOWN if "large" in request.query_params else THUMB_SIDE
        return picture_answer(small_copy(_latest(path), side))

    def download(request: WebRequest) -> Response:
        path = folder.result(request.path_params["name"])
        if path is None or not (path / PICTURE).is_file():
            return picture_answer(None)
        headers = {"Content-Disposition": f'attachment; filename="{path.name}.png"'}
        data = (path / PICTURE).read_bytes()
        return Response(data, media_type="image/png", headers={**SAFE, **headers})

    return [
        Route("/runs", order, methods=["POST"]),
        Route("/runs/{name}/stop", stop, methods=["POST"]),
        Route("/runs/{name}/look.jpg", look),
        Route("/runs/{name}/picture.png", download),
    ]


def _latest(path: Path) -> Path:
    """Returns the picture of a result, or the latest one while it is painted."""
    output = path / PICTURE
    return output if output.exists() else numbered(output, latest_step(path))


def _refused(error: InputError) -> Response:
    return PlainTextResponse(str(error), 400, headers=SAFE)


async def _body(request: WebRequest, most: int) -> bytes:
    """Returns what a request sends; raises InputError if that is more than `most` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise InputError(f"that is more than {most / 2**20:.3g} MB: make it smaller")
        parts.append(part)
    return b"".join(parts)


async def _news_of(queue: Queue) -> AsyncIterator[str]:
    """Tells what is new, for ever."""
    before: dict[str, Any] = {}
    while True:
        now = {"history": queue.history(), "progress": await run_in_threadpool(queue.progress)}
        new = {key: value for key, value in now.items() if before.get(key, ...) != value}
        if new:
            before = now
            yield f"data: {json.dumps(new)}\n\n"
        await asyncio.sleep(BETWEEN_NEWS)


def serve_studio(folder: StudioFolder, at: socket.socket) -> tuple[str, Queue]:
    """Serves the studio from a thread of its own; returns its address, and its queue."""
    queue = Queue(folder)

    def make(token: str, local: bool) -> Guard:
        return studio_application(folder, queue, token, local=local)

    return serve_page(make, at), queue
