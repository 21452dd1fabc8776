"""Who may ask: a layer around everything that the server answers.

Reading is open to this machine alone, by a name of this machine (a page of somebody else may have its own name point here: DNS rebinding);
all else needs the token, in the header Authorization, which no page of somebody else can send. Every answer tells browsers to keep to that.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quicklook.core.hosting import Host, Role, Serving

API = "/api/"
OPEN = "/api/v1/me"
"""Answers to everybody that finds the way: what they may do."""
MOST_BODY = 65_536
MOST_TARGET = 4096
MOST_HEADERS = 16_384
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Styles are set inline by plotly; nothing else is."""
_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_BEARER = "bearer "


def is_loopback(name: str) -> bool:
    """Whether an address, or the name localhost, is of this machine alone."""
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def host_name(header: str) -> str:
    """The name in a Host header, without the port, in lower case; "" for what is none."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.username is None and parts.netloc == header else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused(Exception):
    status: int
    error: str
    message: str
    what_next: str

    def answer(self) -> Response:
        said = {"error": self.error, "message": self.message, "what_next": self.what_next}
        return JSONResponse(said, status_code=self.status, headers={"www-authenticate": "Bearer"} if self.status == 401 else None)


class Guard:
    """Refuses what may not be asked, and puts the headers on what is answered. The role of who asks is in the state of the request."""

    def __init__(self, app: ASGIApp, host: Host, serving: Serving) -> None:
        self._app, self._host = app, host
        self._local = is_loopback(serving.host)
        own = () if self._local else (socket.gethostname(), socket.getfqdn())
        self._names = {name.lower() for name in ("localhost", *serving.names, *own)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store"
            await send(message)

        try:
            scope.setdefault("state", {})["role"] = await self._role(scope)
            self._check(scope)
        except _Refused as refused:
            await refused.answer()(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    async def _role(self, scope: Scope) -> Role:
        """By the token where one is sent, else by where the request comes from. A token that is wrong is told, also where none is needed."""
        headers = Headers(scope=scope)
        name = host_name(headers.get("host", ""))
        if len(headers.getlist("host")) != 1 or not (name in self._names or _is_address(name)):
            raise _Refused(
                status=421, error="BadConfig", message="this server is not called so",
                what_next="Use its address, or write the name under `web: {names: [...]}` of the site.",
            )  # fmt: skip
        given = headers.get("authorization", "")
        if given:
            token = given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else ""
            return await run_in_threadpool(self._host.role, token[:1000])
        client = scope.get("client")
        return Role.READ if self._local and is_loopback(name) and client is not None and is_loopback(client[0]) else Role.NOBODY

    def _check(self, scope: Scope) -> None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_TARGET:
            raise _Refused(status=414, error="BadConfig", message="the address is too long", what_next="Ask for less at once.")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
            raise _Refused(status=431, error="BadConfig", message="the headers are too long", what_next="Remove what is kept for this server.")
        if method not in ("GET", "HEAD", "POST"):
            raise _Refused(status=405, error="BadConfig", message=f"{method} is not for this server", what_next="Use GET or POST.")
        if not path.startswith(API):
            return
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise _Refused(status=403, error="BadConfig", message="a page of somebody else asks", what_next="Open the page of this server.")
        self._check_token(scope["state"]["role"], path, method, sent="authorization" in headers)
        if method == "POST":
            _check_post(headers, scope["scheme"])

    def _check_token(self, role: Role, path: str, method: str, *, sent: bool) -> None:
        if path == OPEN:
            return
        if role is Role.NOBODY or (method == "POST" and role is not Role.ACT and not sent):
            what_next = "Give the token of the daemon: it is in command.token of the output folder, or in the file that the site names."
            said = "the token is not that of this daemon" if sent else "this needs the token"
            raise _Refused(status=401, error="BadConfig", message=said, what_next=what_next)
        if method == "POST" and role is not Role.ACT:
            raise _Refused(status=403, error="BadConfig", message="this token is for reading alone", what_next="Give the token for actions.")


def _check_post(headers: Headers, scheme: str) -> None:
    origin = headers.get("origin")
    if origin is not None and origin != f"{scheme}://{headers.get('host')}":
        raise _Refused(status=403, error="BadConfig", message="a page of somebody else asks", what_next="Open the page of this server.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Refused(status=415, error="BadData", message="this is no JSON", what_next="Send JSON, and say so as content-type.")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BODY:
        raise _Refused(status=413, error="BadData", message=f"more than {MOST_BODY} bytes are not read", what_next="Send less.")
