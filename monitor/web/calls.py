"""From a request to its handler and back: what is asked is checked against its record, errors become answers that say what to do."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import anyio
from anyio.to_thread import run_sync
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from monitor.web.guard import MOST_BODY
from monitor.web.routing import Blob, Route
from monitor.web.shared import Shared
from quicklook.core.errors import BadConfig, BadData, MissingCalibration, NotReadyYet, QuicklookError, Transient, describe
from quicklook.core.hosting import Host

log = logging.getLogger("quicklook.web")

_AT_ONCE = 8
"""So many handlers work at a time; others wait for their turn."""
_LONGEST_S = 30.0
_BODY_S = 10.0
_STATUSES: tuple[tuple[type[QuicklookError], int], ...] = (
    (NotReadyYet, 404),
    (MissingCalibration, 404),
    (BadConfig, 400),
    (BadData, 422),
    (Transient, 503),
)


class Caller:
    """Calls handlers for a host, few at a time."""

    def __init__(self, host: Host) -> None:
        self._host, self._shared = host, Shared(host)
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, route: Route, request: Request) -> Response:
        """The answer of a route."""
        try:
            ask = route.ask.model_validate(await _asked(route, request))
        except ValidationError as error:
            return refusal(BadConfig(describe(error), what_next="Look at /api/v1/openapi.json for what it takes."))
        except QuicklookError as error:
            return refusal(error)
        self._limiter = limiter = self._limiter or anyio.CapacityLimiter(_AT_ONCE)
        try:
            async with asyncio.timeout(_LONGEST_S):
                if route.shared:
                    asked = f"{route.path} {ask.model_dump_json()}"
                    text = await self._shared.get(asked, limiter, lambda: run_sync(self._text, route, ask, limiter=limiter, abandon_on_cancel=True))
                    return Response(text, media_type="application/json")
                return await run_sync(self._response, route, ask, request.headers.get("if-none-match", ""), limiter=limiter, abandon_on_cancel=True)
        except QuicklookError as error:
            return refusal(error)
        except TimeoutError:
            return refusal(Transient(f"there was no answer within {_LONGEST_S:g} s: a disk or a server hangs"))
        except Exception as error:
            log.exception("%s %s: %s", route.method, route.path, describe(error))
            said = BadData("this is a fault of the program", what_next="Look at the log of the daemon, and report it.")
            return refusal(said, status=500)

    def _text(self, route: Route, ask: BaseModel) -> bytes:
        answer = route.handler(self._host, ask)
        if not isinstance(answer, BaseModel):
            raise TypeError(f"{route.path}: only records can be shared")
        return answer.model_dump_json().encode()

    def _response(self, route: Route, ask: BaseModel, known: str) -> Response:
        answer = route.handler(self._host, ask)
        return _of_blob(answer, known) if isinstance(answer, Blob) else Response(answer.model_dump_json(), media_type="application/json")


def _of_blob(answer: Blob, known: str) -> Response:
    tag = f'"{answer.etag}"' if answer.etag else ""
    headers = {"etag": tag, "cache-control": "private, no-cache"} if tag else {}
    if tag and known == tag:
        return Response(status_code=304, headers=headers)
    return Response(answer.content, media_type=answer.media_type, headers=headers)


async def _asked(route: Route, request: Request) -> Mapping[str, Any]:
    """What was asked, by name. Raises BadData for a body that is no JSON object, BadConfig for a name that is there twice."""
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in given or name in request.path_params:
            raise BadConfig(f"{name} is there twice", what_next="Say it once.")
        given[name] = value
    if route.method == "POST":
        given.update(await _body(request))
    return {**given, **request.path_params}


async def _body(request: Request) -> dict[str, Any]:
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY:
                    raise BadData(f"more than {MOST_BODY} bytes are not read", what_next="Send less.")
        said = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadData("this is no JSON", what_next='Send a JSON object, as in {"args": {}, "by": "me"}.') from error
    except (TimeoutError, ClientDisconnect) as error:
        raise BadData("the request has not come to its end", what_next="Send it again.") from error
    if not isinstance(said, dict):
        raise BadData("this is no JSON object", what_next='Send one, as in {"args": {}, "by": "me"}.')
    return said


def refusal(error: QuicklookError, *, status: int = 0) -> Response:
    """An error as an answer."""
    status = status or next((s for kind, s in _STATUSES if isinstance(error, kind)), 500)
    return JSONResponse({"error": type(error).__name__, "message": describe(error), "what_next": error.what_next}, status_code=status)
