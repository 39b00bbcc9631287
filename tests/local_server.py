"""A web server on 127.0.0.1 that misbehaves as told, for the tests of downloads."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What is at one path, and how it is sent."""

    data: bytes
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the connection is closed: the first request's, the second's, ..."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    seconds: float = 0
    """How long to wait in the middle."""
    shift: int = 0
    """How many bytes after the ones asked for a range begins."""


class Site:
    """The pages, and what was asked for: path, Range header, bytes sent."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, str | None, int]] = []
        self.address = ""

    def url(self, path: str) -> str:
        """Returns a page's address."""
        return self.address + path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self.close_connection = True
        page = self.site.pages.get(self.path, Page(b"not here", status=404))
        asked = self.headers.get("Range")
        entry = len(self.site.requests)
        self.site.requests.append((self.path, asked, 0))
        status, start, headers = page.status, 0, {"Connection": "close", **page.headers}
        if asked and page.ranges and status == 200:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) + page.shift
            status = 206 if start < len(page.data) else 416
            last = f"{start}-{len(page.data) - 1}" if status == 206 else "*"
            headers["Content-Range"] = f"bytes {last}/{len(page.data)}"
        body = page.data[start:]
        cut = page.cuts.pop(0) if page.cuts else len(body)
        sent = self._send(status, headers, body, body[:cut], page)
        self.site.requests[entry] = (self.path, asked, sent)

    def _send(self, status: int, headers: dict[str, str], whole: bytes, sent: bytes, page: Page):
        length = {"Transfer-Encoding": "chunked"} if page.chunked else {}
        self.send_response(status)
        for name, value in (headers | (length or {"Content-Length": str(len(whole))})).items():
            self.send_header(name, value)
        seconds = page.seconds
        self.end_headers()
        half = len(sent) // 2
        for piece in (sent[:half], sent[half:]):
            if piece:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if page.chunked else piece)
                self.wfile.flush()
            time.sleep(seconds / 2)
        if page.chunked and sent == whole:
            self.wfile.write(b"0\r\n\r\n")
        return len(sent)

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away, as some tests want


@contextlib.contextmanager
def serve() -> Iterator[Site]:
    """Runs a server in a thread."""
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    with _Server(("127.0.0.1", 0), handler) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
