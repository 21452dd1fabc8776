"""A page of a browser that tells of every error and of every request that leaves this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

OFFLINE = ("Failed to load resource: net::ERR_CONNECTION_REFUSED", "Failed to load resource: net::ERR_INCOMPLETE_CHUNKED_ENCODING", "Failed to load resource: net::ERR_CONNECTION_RESET")
"""What a browser writes by itself when a server is down."""


@dataclass
class Watched:
    """A page of a browser with what went wrong on it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in ("127.0.0.1", "localhost"):
            self.strangers.append(request.url)

    def faults(self, *, server_was_down: bool = False) -> list[str]:
        """What went wrong."""
        known = OFFLINE if server_was_down else ()
        return [e for e in self.errors if not any(k in e for k in known)] + self.strangers
