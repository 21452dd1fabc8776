"""The application: pages, static files, the API, the stream of events, all behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as HttpRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from monitor.web.api import ROUTES
from monitor.web.calls import Caller
from monitor.web.guard import Guard
from monitor.web.openapi import PREFIX, describe_api
from monitor.web.pages import PAGES
from monitor.web.routing import Page, Route
from monitor.web.stream import Stream
from quicklook.core.hosting import Host, Role, Serving

_LARGE = 50_000
"""Bytes from which on an answer is packed: to pack small ones would cost more than to send them."""
_HERE = Path(str(files("monitor.web")))


def all_routes() -> tuple[Route, ...]:
    """The routes of the API: common ones, then those of the pages."""
    return (*ROUTES, *(route for page in PAGES for route in page.routes))


def make_app(host: Host, serving: Serving) -> ASGIApp:
    """The application that shows a host."""
    stream, caller, views = Stream(host), Caller(host), _Views(PAGES)

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        stream.start()
        try:
            yield
        finally:
            stream.stop()

    routes: list[Any] = [
        *(HttpRoute(path, views.of(page), methods=["GET"]) for page in PAGES for path in dict.fromkeys((page.path, page.href))),
        HttpRoute(f"{PREFIX}/me", _me, methods=["GET"]),
        HttpRoute(f"{PREFIX}/openapi.json", _openapi(host), methods=["GET"]),
        HttpRoute(f"{PREFIX}/stream", _plain(stream), methods=["GET"]),
        *(HttpRoute(PREFIX + route.path, _call(caller, route), methods=[route.method]) for route in all_routes()),
        HttpRoute("/static/plotly.min.js", _plotly, methods=["GET"]),
        HttpRoute("/favicon.ico", _icon, methods=["GET"]),
        Mount("/static", _Static(directory=_HERE / "static")),
    ]
    packed = Middleware(GZipMiddleware, minimum_size=_LARGE, compresslevel=1)
    app = Starlette(routes=routes, lifespan=life, middleware=[packed], exception_handlers={404: _not_found, 405: _not_found})
    return Guard(app, host, serving)


class _Static(StaticFiles):
    """Files of the pages; a browser asks each time whether they have changed, and is answered in a few bytes."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """As it is there, with what keeps a browser from using an old one."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


class _Views:
    """Pages as HTML: without any data, which they fetch by the API."""

    def __init__(self, pages: Sequence[Page]) -> None:
        loader = jinja2.FileSystemLoader(_HERE / "templates")
        self._jinja = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        self._jinja.globals.update(pages=pages, static=lambda name: f"/static/{name}")

    def of(self, page: Page) -> Callable[[Request], Response]:
        """What answers for a page."""
        template = self._jinja.get_template(page.template)

        def view(_request: Request) -> Response:
            text = template.render(page=page)
            return HTMLResponse(text, headers={"cache-control": "no-cache"})

        return view


def _call(caller: Caller, route: Route) -> Callable[[Request], Any]:
    async def call(request: Request) -> Response:
        return await caller(route, request)

    return call


def _plain(stream: Stream) -> Callable[[Request], Any]:
    async def call(request: Request) -> Response:
        return await stream(request)

    return call


async def _me(request: Request) -> Response:
    role: Role = request.scope["state"]["role"]
    return JSONResponse({"role": role})


def _openapi(host: Host) -> Callable[[Request], Any]:
    def call(_request: Request) -> Response:
        return JSONResponse(describe_api(all_routes(), host.about().versions.get("spectroquicklook", "")))

    return call


def _plotly(_request: Request) -> Response:
    path = Path(str(files("plotly"))) / "package_data" / "plotly.min.js"
    return FileResponse(path, media_type="text/javascript", headers={"cache-control": "no-cache"})


def _icon(_request: Request) -> Response:
    return RedirectResponse("/static/icon.svg", status_code=308)


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    said = {"error": "BadConfig", "message": f"there is no {request.url.path[:200]} here", "what_next": "See /api/v1/openapi.json for what there is."}
    if request.url.path.startswith("/api/"):
        return JSONResponse(said, status_code=status)
    return HTMLResponse('<!doctype html><title>not here</title><p>There is no such page. <a href="/">To what is there now</a>.', status_code=status)
