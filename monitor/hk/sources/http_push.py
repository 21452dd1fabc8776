"""Samples pushed by HTTP: a small server that takes JSON lines, and trusts nobody."""

from __future__ import annotations

import hmac
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import Field

from monitor.hk.sources.records import Inbox, batches_of
from monitor.hk.sources.rows import Cells, FaultCount
from quicklook.core.errors import BadConfig
from quicklook.core.housekeeping import HkSource, SourceContext, Taken
from quicklook.core.params import Params

_MOST_VALUES = 200_000
_STEP = 1 << 16


class HttpParams(Params):
    """Parameters of `http`."""

    host: str = Field("127.0.0.1", description="Address to listen at; 0.0.0.0 for all of the machine, and then with a token")
    port: int = Field(8390, ge=0, le=65535, description="Port; 0 takes a free one")
    path: str = Field("/hk", description="Path to which samples are posted")
    token_env: str = Field("", description="Environment variable with the token that senders must give (Authorization: Bearer ...)")
    token_file: str = Field("", description="File with that token")
    zone: str = Field("UTC", description="Time zone of times that say none")
    max_kb: int = Field(1024, ge=1, le=65536, description="Longest body [kB]")
    max_connections: int = Field(16, ge=1, le=1000, description="Connections at once; more are refused")
    max_s: float = Field(10.0, gt=0, description="Longest time of a request [s]; then it is cut off")


class HttpSource(HkSource[HttpParams]):
    """Takes `POST <path>` with JSON lines (see `records`); answers 204, or 400 with the number of wrong lines; 401, 404, 405, 411, 413, 503."""

    name = "http"

    def open(self, context: SourceContext) -> None:
        """Start the server. Raises BadConfig: the address cannot be used, the token is not there, or none is asked for on an open address."""
        token = self._token(context.source)
        if not token and self.params.host not in ("127.0.0.1", "localhost", "::1"):
            raise BadConfig(f"source {context.source}: it listens at {self.params.host} and asks for no token; set token_env or token_file")
        self._context, self._cells = context, Cells(context)
        try:
            self._server = _Server(self.params, token)
        except OSError as error:
            raise BadConfig(f"source {context.source}: cannot listen at {self.params.host}:{self.params.port}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name=f"hk-{context.source}", daemon=True)
        self._thread.start()

    def _token(self, source: str) -> str:
        p = self.params
        try:
            found = os.environ.get(p.token_env, "") if p.token_env else Path(p.token_file).read_text(encoding="utf-8").strip() if p.token_file else ""
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"source {source}: the token cannot be read from {p.token_file}: {type(error).__name__}") from error
        if (p.token_env or p.token_file) and not found:
            raise BadConfig(f"source {source}: the token is empty; set {p.token_env or p.token_file}")
        return found

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self._server.server_address[1])

    def poll(self, now: float) -> Taken:
        """What was posted since the last look."""
        faults = FaultCount(self._context.source, now)
        self._server.cut_off()
        with self._server.lock:
            records = self._server.inbox.empty(faults)
            refused, self._server.refused = self._server.refused, 0
        if refused:
            faults.add("", self._context.source, "requests were refused (no token, too long, too many, no samples)", kind="Refused", count=refused)
        batches = batches_of(records, self._cells, self._context.source, faults)
        return Taken(batches=tuple(batches), faults=faults.faults)

    def close(self) -> None:
        """Stop the server."""
        if hasattr(self, "_server"):
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, params: HttpParams, token: str) -> None:
        self.params, self.token = params, token
        self.lock = threading.Lock()
        self.inbox, self.refused = Inbox(_MOST_VALUES, params.zone), 0
        self._live: dict[socket.socket, float] = {}
        super().__init__((params.host, params.port), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Refuse what is more than may be at once: a connection costs a thread."""
        with self.lock:
            if len(self._live) >= self.params.max_connections:
                self.refused += 1
                return False
            self._live[request] = time.monotonic()
        return True

    def shutdown_request(self, request: Any) -> None:
        """A connection has ended."""
        with self.lock:
            self._live.pop(request, None)
        super().shutdown_request(request)

    def cut_off(self) -> None:
        """End connections that last too long: who sends a byte a second keeps every time-out of a single read."""
        with self.lock:
            late = [s for s, since in self._live.items() if time.monotonic() - since > self.params.max_s]
        for each in late:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has gone by itself

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A request that broke off is counted, and says nothing on the terminal."""
        with self.lock:
            self.refused += 1


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"  # one request a connection
    server_version, sys_version = "quicklook", ""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.params.max_s)

    def do_POST(self) -> None:
        """Take the samples of a body."""
        status, text = self._taken()
        if status != 204:
            with self.server.lock:
                self.server.refused += 1
        self._answer(status, text)

    def do_GET(self) -> None:
        """Nothing is shown here."""
        self._answer(405, "samples are posted here: POST JSON lines")

    def _taken(self) -> tuple[int, str]:
        server = self.server
        if self.path.partition("?")[0] != server.params.path:
            return 404, f"post samples to {server.params.path}"
        if server.token and not hmac.compare_digest(self.headers.get("Authorization", "").encode(), f"Bearer {server.token}".encode()):
            return 401, "the token is missing or wrong"
        given = self.headers.get("Content-Length", "")
        if not (given.isascii() and given.isdigit()):
            return 411, "say how long the body is (Content-Length)"
        if len(given) > 9 or int(given) > server.params.max_kb << 10:
            return 413, f"a body has at most {server.params.max_kb} kB"
        body = self._body(int(given))
        if len(body) < int(given):
            return 400, "the body is shorter than it says"
        with server.lock:
            if server.inbox.full:
                return 503, "too many samples at once; try again"
            wrong = server.inbox.put(body, str(self.client_address[0]), time.time())
        return (204, "") if not wrong else (400, f"{wrong} lines are no samples")

    def _body(self, length: int) -> bytes:
        parts, left = [], length
        while left > 0:
            part = self.rfile.read(min(left, _STEP))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged one by one; what is refused is counted."""
