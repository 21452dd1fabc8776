"""Routes of the API as data: a handler takes what was asked as a record, and gives a record or bytes. The types make the OpenAPI description.

A page is a template, its own routes, and a place in the navigation; see `monitor.web.pages`.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

Method = Literal["GET", "POST"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """An answer that is no JSON: an image, a file. `etag` ("": none) lets a browser keep it."""

    content: bytes
    media_type: str
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One route below ``/api/v1``. `handler(host, ask)` is called in a thread; its annotations say what is asked and answered.

    Of GET the record `ask` is filled from the path and the query, of POST from the path and the JSON body.
    """

    method: Method
    path: str
    handler: Callable[..., BaseModel | Blob]
    summary: str
    name: str = ""
    """The name of the operation, where it is not that of the handler."""
    shared: bool = False
    """Pages that ask the same while nothing happens get one answer, of a second ago at most."""

    @property
    def ask(self) -> type[BaseModel]:
        """The record of what is asked. Raises TypeError for a handler without annotations."""
        found = list(self._hints().values())[1]
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            raise TypeError(f"{self.path}: the second argument of its handler is no record")
        return found

    @property
    def answer(self) -> type[Any]:
        """The record of the answer, or Blob."""
        found: type[Any] = self._hints()["return"]
        return found

    def _hints(self) -> dict[str, Any]:
        return typing.get_type_hints(self.handler)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: its place in the navigation (`link` is where that leads, if not to `path`), its template, its own routes."""

    name: str
    title: str
    path: str
    template: str
    link: str = ""
    key: str = ""
    """The key that leads there after ``g``."""
    routes: tuple[Route, ...] = field(default=())

    @property
    def href(self) -> str:
        """Where the navigation leads."""
        return self.link or self.path
