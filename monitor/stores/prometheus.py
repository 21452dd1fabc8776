"""The sink that shows what was said last to Prometheus, at an address that it scrapes. In a process of its own."""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import numpy as np
from pydantic import Field

from monitor.hk.loading import load_hk
from monitor.hk.series import ConfiguredStore
from monitor.stores.labels import Bounds
from monitor.stores.lastthings import LastThings
from monitor.stores.prometheusfold import KINDS, Fold
from monitor.stores.prometheustext import Look, Shown
from quicklook.core.errors import BadConfig, QuicklookError, Transient, describe
from quicklook.core.events import Draft, Event
from quicklook.core.params import Params
from quicklook.core.provenance import DISTRIBUTION, version_of
from quicklook.core.sink import Sink, SinkContext
from quicklook.io.configfiles import find_config
from quicklook.io.credentials import secret_of

log = logging.getLogger("quicklook.prometheus")

_REST_S = 10.0
"""Last values of channels are looked for so often, at most."""
_TIMEOUT_S = 10.0
_DEADLINE_S = 15.0
"""Who asks and reads so slowly that a request takes longer than this is cut off."""
_MOST_AT_ONCE = 8


class PrometheusParams(Params):
    """Parameters of `prometheus`."""

    host: str = Field("127.0.0.1", description="address to listen at; off the loopback only with a token")
    port: int = Field(9465, ge=0, le=65535, description="port to listen at")
    token: str = Field("", description="who scrapes must give it (authorization: Bearer), as env:NAME or file:/path")
    elements: int = Field(0, ge=0, le=100, description="metrics of at most so many values are shown value by value; larger ones as their median")
    always: tuple[str, ...] = Field(("channel",), description="... and so are metrics that have one of these dimensions")
    keep_h: float = Field(24.0, gt=0, description="what was said of cameras and exposures vanishes after so long, h")
    most_values: int = Field(5000, ge=10, le=100_000, description="of every label at most so many different values")
    housekeeping: str = Field("", description="configuration of housekeeping (name or file): last values are shown; empty: states alone")
    store: str = Field("", description="file of the samples; by default hk.sqlite in the output folder")
    hk_window_s: float = Field(120.0, gt=0, description="a channel without a sample for so long has no last value, s")


class PrometheusSink(Sink[PrometheusParams]):
    """Shows how the daemon is, the last verdicts, metrics, alarms and housekeeping at http://HOST:PORT/metrics."""

    name = "prometheus"
    kinds = KINDS
    isolated = True

    def check(self) -> None:
        """Refuse an address off the loopback without a token, a token that cannot be had, and a configuration that is none. Raises BadConfig."""
        if self.params.token and not self.params.token.startswith(("env:", "file:")):
            raise BadConfig("token stands in the configuration itself", what_next="Write it into a file of its own, and file:/path in its place.")
        token = self._token()
        if not _is_loopback(self.params.host) and not token:
            raise BadConfig(f"{self.params.host} is not on the loopback, and there is no token", what_next="Name a token, as file:/path.")
        if self.params.housekeeping:
            load_hk(find_config("hk", self.params.housekeeping))

    def open(self, context: SinkContext) -> None:
        """Go on with what was said last, and listen. Raises BadConfig, Transient where the port is in use."""
        self.check()
        out = Path(context.out)
        self._last = LastThings(out / "prometheus.sqlite", context.epoch)
        self._fold = Fold(self._last, context.tag, self.params.elements, self.params.always)
        self._seq = self._last.seq
        store = Path(self.params.store) if self.params.store else out / "hk.sqlite"
        channels = Channels(self.params.housekeeping, store, self.params.hk_window_s)
        look = Look(
            last=self._last, keep_s=self.params.keep_h * 3600, bounds=Bounds(self.params.most_values), version=version_of(DISTRIBUTION),
            now_ns=time.time_ns, channels=channels.values,
        )  # fmt: skip
        try:
            self._server = _Server((self.params.host, self.params.port), Shown(look), self._token())
        except OSError as error:
            self._last.close()
            raise Transient(f"{self.params.host}:{self.params.port} cannot be listened at: {error.strerror or error}") from error
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="prometheus", daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens, with the port that was chosen."""
        host, port = self._server.server_address[:2]
        return f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"

    def accept(self, event: Event) -> Sequence[Draft]:
        """Remember what the event says."""
        self._fold.take(event)
        self._seq = max(self._seq, event.seq)
        return []

    def flush(self) -> Sequence[Draft]:
        """Write what was said last. Raises Transient where it cannot be written now."""
        self._last.save(self._seq)
        return []

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._last.close()

    def _token(self) -> str:
        return secret_of(self.params.token, "token of those who scrape") if self.params.token else ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Channels:
    """Last values of channels, read from the store of samples not too often."""

    def __init__(self, config: str, store: Path, window_s: float) -> None:
        self._config, self._path, self._window_s = config, store, window_s
        self._lock = threading.Lock()
        self._read_at, self._known = -np.inf, dict[str, tuple[str, float]]()

    def values(self) -> Mapping[str, tuple[str, float]]:
        """Unit and last value by channel; NaN where the last sample is not valid. Without a store, or where it cannot be read, none."""
        if not self._config:
            return {}
        with self._lock:
            if time.monotonic() - self._read_at > _REST_S:
                self._known, self._read_at = self._read(time.time()), time.monotonic()
            return self._known

    def _read(self, now: float) -> dict[str, tuple[str, float]]:
        if not self._path.is_file():
            return {}
        try:
            store = ConfiguredStore(load_hk(find_config("hk", self._config)), self._path)
            try:
                found = store.fetch(["*"], now - self._window_s, now + 1.0)
            finally:
                store.close()
        except QuicklookError as error:
            log.warning("last values of housekeeping are not known: %s", describe(error))
            return {}
        last = {name: s for name, s in found.items() if len(s.times) and not s.words}
        return {name: (s.unit, float(np.ma.filled(s.values[-1:].astype(float), np.nan)[0])) for name, s in last.items()}


class _Server(ThreadingHTTPServer):
    """Answers /metrics; a few at a time, and none for long."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], shown: Shown, token: str) -> None:
        self.shown, self.token = shown, token
        self._turns = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without the name of the host: to look for it may take long where the network is away."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, if one is left."""
        if self._turns.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As it is, until its deadline, and then the next may come."""
        deadline = threading.Timer(_DEADLINE_S, _cut_off, (request,))
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._turns.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Who goes away in the middle is no fault of ours."""
        log.debug("a request was not answered to its end", exc_info=True)


def _cut_off(request: socket.socket) -> None:
    """Whoever reads from it or writes to it finds it ended."""
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One request. What it was is logged nowhere: it may have a token."""

    server: _Server
    timeout = _TIMEOUT_S
    server_version, sys_version = "quicklook", ""

    def do_GET(self) -> None:
        """The families as text, in the form that is asked for."""
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"Look at /metrics\n")
        elif self.server.token and not self._has_token():
            self._answer(401, b"A token is needed\n", {"WWW-Authenticate": "Bearer"})
        else:
            body, kind = self._text()
            self._answer(200, body, {"Content-Type": kind})

    def _has_token(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(errors="replace"), self.server.token.encode())

    def _text(self) -> tuple[bytes, str]:
        from prometheus_client import exposition
        from prometheus_client.openmetrics import exposition as openmetrics

        if "application/openmetrics-text" in self.headers.get("Accept", ""):
            body: bytes = openmetrics.generate_latest(self.server.shown)  # type: ignore[no-untyped-call]
            return body, openmetrics.CONTENT_TYPE_LATEST
        return exposition.generate_latest(self.server.shown), exposition.CONTENT_TYPE_PLAIN_0_0_4

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # the name that it has there
        """Nothing."""
