"""A file server for tests of downloads: it can cut transfers, refuse requests and send other content."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from asdbench import Remote
from asdbench.data.download import Patience

CONTENT = bytes(range(256)) * 4096  # 1 MiB
BLOCK = 1 << 16  # bytes that a download writes at once; a cut loses the rest of its block
QUICK = Patience(retries=3, timeout_s=5.0, pause=lambda seconds: None)


@dataclass
class Server:
    """A file server on loopback with faults on demand."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    """Honour ranges; False: every answer is the whole file."""
    faults: list[Callable[[Answer], bool]] = field(default_factory=list)
    """One fault per request; returns True if it answered the request itself."""
    asked: list[str | None] = field(default_factory=list)
    """The range of each request."""

    def remote(self, file: str = "a.zip", *, md5: str = "") -> Remote:
        """Return a file of this server, by default with the checksum of the content."""
        return Remote(url=f"{self.url}/{file}", md5=md5 or hashlib.md5(self.content).hexdigest(), part="dev")

    def unchecked(self, file: str = "a.zip") -> Remote:
        """Return a file of this server without a known checksum."""
        return Remote(url=f"{self.url}/{file}", md5="", part="dev")


class Answer(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        self.state.asked.append(self.headers.get("Range"))
        if self.state.faults and self.state.faults.pop(0)(self):
            return
        self.send()

    def send(self, *, cut: int | None = None) -> None:
        """Answer correctly, but stop ``cut`` bytes into the body."""
        content, start = self.state.content, self.start()
        if start >= len(content) > 0 and start:
            self.head(416, 0, content_range=f"bytes */{len(content)}")
            return
        body = content[start:]
        if start:
            self.head(206, len(body), content_range=f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.head(200, len(body))
        with contextlib.suppress(ConnectionError):  # the client may already have closed the connection
            self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = True

    def start(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match[1]) if match and self.state.ranges else 0

    def head(self, status: int, length: int, *, content_range: str = "", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if content_range:
            self.send_header("Content-Range", content_range)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep test output quiet."""


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Run a server while the block runs."""
    state = Server()
    handler = type("Bound", (Answer,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def cut(after: int) -> Callable[[Answer], bool]:
    """Return a fault that closes the connection after some bytes of the body."""

    def fault(answer: Answer) -> bool:
        answer.send(cut=after)
        return True

    return fault


def refuse(status: int, **headers: str) -> Callable[[Answer], bool]:
    """Return a fault that answers with an HTTP status."""

    def fault(answer: Answer) -> bool:
        answer.head(status, 0, **headers)
        return True

    return fault


def replace_content(content: bytes) -> Callable[[Answer], bool]:
    """Return a fault that sends other content."""

    def fault(answer: Answer) -> bool:
        answer.head(200, len(content))
        answer.wfile.write(content)
        return True

    return fault


def zipped(members: dict[str, bytes]) -> bytes:
    """Return the bytes of a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of all files under a folder, hidden ones aside."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
