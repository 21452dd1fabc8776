"""The server: registered as `web` under `quicklook.monitors`; see `quicklook.core.hosting.WebServer`."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Any

import uvicorn

from monitor.web.app import all_routes, make_app
from monitor.web.openapi import describe_api
from monitor.web.patience import PatientProtocol
from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.hosting import Host, Serving

log = logging.getLogger("quicklook.web")

_MOST_CONNECTIONS = 300
_LONGEST_HEAD = 16_384
_STOP_LOOK_S = 0.25
_END_S = 2


class WebServer:
    """Serves the live page."""

    def serve(self, host: Host, serving: Serving) -> None:
        """Serve until `stop` says so, or a signal. Raises Transient where the port is taken, BadConfig for an address that cannot be used."""
        with _bound(serving) as bound:
            config = uvicorn.Config(
                make_app(host, serving), http=PatientProtocol, ws="none", loop="asyncio", lifespan="on", log_config=None, log_level="warning",
                access_log=False, server_header=False, proxy_headers=False, limit_concurrency=_MOST_CONNECTIONS,
                h11_max_incomplete_event_size=_LONGEST_HEAD, timeout_graceful_shutdown=_END_S, timeout_keep_alive=10,
            )  # fmt: skip
            server = uvicorn.Server(config)
            asyncio.run(_until_stopped(server, bound, serving))

    def openapi(self) -> dict[str, Any]:
        """The description of its JSON API."""
        from quicklook.core.provenance import DISTRIBUTION, version_of

        return describe_api(all_routes(), version_of(DISTRIBUTION))


async def _until_stopped(server: uvicorn.Server, bound: socket.socket, serving: Serving) -> None:
    async def look() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        serving.started(_address(bound, serving))
        while not serving.stop():
            await asyncio.sleep(_STOP_LOOK_S)
        server.should_exit = True

    looking = asyncio.create_task(look())
    try:
        await server.serve(sockets=[bound])
    finally:
        looking.cancel()


def _bound(serving: Serving) -> socket.socket:
    """The socket, bound to the first of the ports that is free. Raises Transient, BadConfig."""
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    last = serving.port + serving.further if serving.port else 0
    for port in range(serving.port, min(last, 65535) + 1):
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((serving.host.strip("[]"), port))
            bound.listen()
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE:
                raise BadConfig(f"the page cannot be served at {serving.host}:{port}: {describe(error)}") from error
        else:
            if port != serving.port:
                log.warning("port %d is in use by another program; the page is at port %d", serving.port, port)
            return bound
    what_next = "Stop the other program, or name another port under `web` of the site (0: any that is free)."
    raise Transient(f"port {serving.port} of {serving.host} is in use", what_next=what_next)


def _address(bound: socket.socket, serving: Serving) -> str:
    name = "localhost" if serving.host == "localhost" else f"[{serving.host}]" if ":" in serving.host else serving.host
    return f"http://{name}:{bound.getsockname()[1]}/"
