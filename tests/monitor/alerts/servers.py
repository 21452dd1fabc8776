"""A real SMTP server and a real HTTP endpoint on the loopback, that can fail, and time out after they have taken a message."""

from __future__ import annotations

import email
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from email.message import Message as Mail
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

OK, FAIL, REFUSE, SILENT = "ok", "fail", "refuse", "silent"
"""Takes it; says "later"; says "never"; takes it and answers too late."""
LATE_S = 1.5


@dataclass
class MailServer:
    """Collects mails. `mode` is what it does with the next one; one that has the words `refused` in it is refused for good."""

    mode: str = OK
    refused: str = ""
    got: list[Mail] = field(default_factory=list)

    def __enter__(self) -> MailServer:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop(no_assert=True)

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=quicklook@obs.example&to=ann@obs.example"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.mode == FAIL:
            return "451 later"
        if self.mode == REFUSE or (self.refused and self.refused.encode() in envelope.content):
            return "554 never"
        self.got.append(email.message_from_bytes(envelope.content))
        if self.mode == SILENT:
            import asyncio

            await asyncio.sleep(LATE_S)
        return "250 ok"

    def fingerprints(self) -> dict[str, set[str]]:
        """By Message-ID, however often it came: subjects."""
        out: dict[str, set[str]] = {}
        for mail in self.got:
            out.setdefault(str(mail["Message-ID"]), set()).add(str(email.header.make_header(email.header.decode_header(mail["Subject"]))))
        return out


@dataclass
class HookServer:
    """Collects the bodies of POSTs. `mode` is what it does with the next one; one that has the words `refused` in it is refused for good."""

    mode: str = OK
    refused: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def __enter__(self) -> HookServer:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if server.mode in (FAIL, REFUSE) or (server.refused and server.refused.encode() in body):
                    self.send_error(503 if server.mode == FAIL else 400)
                    return
                server.got.append(json.loads(body))
                server.keys.append(self.headers["Idempotency-Key"])
                if server.mode == SILENT:
                    time.sleep(LATE_S)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def incidents(self) -> dict[str, set[str]]:
        """By fingerprint: which statuses came, however often."""
        out: dict[str, set[str]] = {}
        for body in self.got:
            for alert in body["alerts"]:
                out.setdefault(alert["fingerprint"], set()).add(alert["status"])
        return out


def text_of(mail: Mail) -> str:
    """The text of a mail."""
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()
