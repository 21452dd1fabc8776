"""Writing points to a server that takes the line protocol: InfluxDB 1.x (``/write``) and 2.x (``/api/v2/write``), VictoriaMetrics.

Source: InfluxDB 1.8 and 2.7 documentation, write API. Points of the same series and time are the same point: to write them again changes nothing.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode, urlsplit

from pydantic import Field

from quicklook.core.errors import BadConfig, Transient
from quicklook.core.params import Params
from quicklook.io.credentials import secret_of
from quicklook.io.lineprotocol import Point, line_of

MOST_LINES = 5000
"""Lines in one request."""
_MOST_SAID = 300
_REFUSED = (400, 422)
"""Some lines of it, or all, are refused, and will be: a line that cannot be read, a field of another type, a time before the retention."""
_TOO_LARGE = 413
_WHAT_NEXT = {
    401: "Look at the token, or user and password.",
    403: "Let this user or token write there.",
    404: "Make the database (1.x: CREATE DATABASE) or the bucket, or mend url and version: what waits is written then.",
}


class InfluxPlace(Params):
    """An InfluxDB, as configuration names it. Secrets: env:NAME or file:/path says where they are written."""

    url: str = Field("http://127.0.0.1:8086", description="address of the server, nothing secret in it")
    version: Literal[1, 2] = Field(1, description="1: /write, with database; 2: /api/v2/write, with org, bucket, token")
    database: str = Field("", description="1.x: database; it must be there; 2.x: the one that a mapping to the bucket has, for what is asked")
    retention_policy: str = Field("", description="1.x: retention policy; empty: the default one of the database")
    org: str = Field("", description="2.x: organisation")
    bucket: str = Field("", description="2.x: bucket")
    user: str = Field("", description="1.x: user")
    password: str = Field("", description="1.x: password, as env:NAME or file:/path")
    token: str = Field("", description="token, as env:NAME or file:/path")
    timeout_s: float = Field(10.0, gt=0, le=120, description="so long an answer is waited for, s")
    compressed: bool = Field(True, description="whether lines are sent compressed (gzip)")

    @property
    def target(self) -> InfluxTarget:
        """The same, to be written to."""
        return InfluxTarget(**{name: getattr(self, name) for name in InfluxPlace.model_fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxTarget:
    """Where points go. `token` is of 2.x, `user` and `password` of 1.x; each is itself, or names where it is written (env:NAME, file:/path)."""

    url: str
    version: int = 1
    database: str = ""
    retention_policy: str = ""
    org: str = ""
    bucket: str = ""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    timeout_s: float = 10.0
    compressed: bool = True

    def check(self) -> None:
        """Raises BadConfig where it is no address, something is missing, or a secret cannot be had; what it says shows no secret."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise BadConfig("url is no address", what_next="Write http://HOST:PORT, and nothing secret in it.")
        if parts.username or parts.password or parts.query:
            raise BadConfig("url has a user, a password or a query in it", what_next="Name them under user, password (file:/path), database.")
        _port(self.url)
        lacking = ("database",) if self.version == 1 else ("org", "bucket")
        if empty := [name for name in lacking if not getattr(self, name)]:
            raise BadConfig(f"InfluxDB {self.version}.x needs {' and '.join(empty)}")
        self.authorization()

    @property
    def path(self) -> str:
        """Path and query of a request that writes."""
        words = {"db": self.database, "rp": self.retention_policy} if self.version == 1 else {"org": self.org, "bucket": self.bucket}
        query = urlencode({**{name: word for name, word in words.items() if word}, "precision": "ns"})
        return f"{urlsplit(self.url).path.rstrip('/')}/{'write' if self.version == 1 else 'api/v2/write'}?{query}"

    def authorization(self) -> str:
        """The header of that name, "" for none. Raises BadConfig."""
        if self.token:
            token = secret_of(self.token, "token of InfluxDB")
            if not (token.isascii() and token.isprintable()) or " " in token:
                raise BadConfig("the token of InfluxDB has letters that no token has", what_next="Write it into its file once more.")
            return f"Token {token}"
        if self.user:
            pair = f"{secret_of(self.user, 'user of InfluxDB')}:{secret_of(self.password, 'password of InfluxDB')}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        return ""


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError as error:
        raise BadConfig("the port of url is none") from error


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that the server will not take, and what it says of it."""

    line: str
    why: str


class InfluxWriter:
    """Writes points over one connection that is kept. Not for several threads at once. Raises BadConfig as `InfluxTarget.check` does."""

    def __init__(self, target: InfluxTarget) -> None:
        target.check()
        self._target = target
        self._connection: http.client.HTTPConnection | None = None

    def write(self, points: Sequence[Point]) -> list[RefusedLine]:
        """Write points, in order; returns the lines that were refused for good, all others are written.

        Raises Transient where the server is away, does not let us in, or has no such database: none of it is lost if it is written again.
        """
        lines = [line for point in points if (line := line_of(point))]
        refused: list[RefusedLine] = []
        for start in range(0, len(lines), MOST_LINES):
            refused += self._write(lines[start : start + MOST_LINES])
        return refused

    def close(self) -> None:
        """Close the connection; writing opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, lines: Sequence[str]) -> list[RefusedLine]:
        status, said = self._post("".join(f"{line}\n" for line in lines).encode())
        if 200 <= status < 300:
            return []
        if status not in (*_REFUSED, _TOO_LARGE):
            self.close()
            raise Transient(f"InfluxDB answered {status}: {said or 'nothing'}", what_next=_WHAT_NEXT.get(status, ""))
        if len(lines) == 1 or (status in _REFUSED and _dropped(said) == len(lines)):
            return [RefusedLine(line, said) for line in lines]
        # which ones it is, not every version says: halves find them, and what was written already is the same point again
        middle = len(lines) // 2
        return [*self._write(lines[:middle]), *self._write(lines[middle:])]

    def _post(self, body: bytes) -> tuple[int, str]:
        headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "quicklook"}
        if authorization := self._target.authorization():
            headers["Authorization"] = authorization
        if self._target.compressed:
            headers["Content-Encoding"], body = "gzip", gzip.compress(body, 1)
        while True:
            kept = self._connection is not None
            try:
                return self._ask(body, headers)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # a server may close a connection that rested: that says nothing of the server
                if kept and isinstance(error, http.client.RemoteDisconnected | BrokenPipeError | ConnectionResetError):
                    continue
                said = getattr(error, "strerror", "") or type(error).__name__
                raise Transient(f"InfluxDB at {urlsplit(self._target.url).netloc} cannot be reached: {said}") from None

    def _ask(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        if self._connection is None:
            parts = urlsplit(self._target.url)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(parts.hostname or "", _port(self._target.url), timeout=self._target.timeout_s)
        self._connection.request("POST", self._target.path, body, headers)
        answer = self._connection.getresponse()
        said = answer.read(1 << 16)
        if not answer.isclosed():  # longer than any answer is: the rest would be taken for the next one
            self.close()
        return answer.status, _words(said)


def _words(answer: bytes) -> str:
    """What a server says, in one short line of text."""
    text = answer.decode(errors="replace")
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if isinstance(told, dict):
        text = str(told.get("error") or told.get("message") or text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MOST_SAID]


def _dropped(said: str) -> int:
    """How many points a server says that it has dropped; -1 where it does not say. Of a line that it cannot read it says 0."""
    found = re.search(r"\bdropped=(\d{1,9})$", said)
    return int(found[1]) if found else -1
