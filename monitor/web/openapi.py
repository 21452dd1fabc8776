"""The description of the API (OpenAPI 3.1), made from the records that it takes and gives."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from monitor.web.routing import Blob, Route
from quicklook.core.results import Record

PREFIX = "/api/v1"
_REF = "#/components/schemas/{model}"


class ErrorAnswer(Record):
    """What is answered where something cannot be done: the kind of error, what it is, and what to do next."""

    error: str
    message: str
    what_next: str


def describe_api(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The whole description."""
    chosen = list(routes)
    models: dict[type[BaseModel], None] = {ErrorAnswer: None}
    for route in chosen:
        models[route.ask] = None
        if issubclass(route.answer, BaseModel):
            models[route.answer] = None
    refs, definitions = models_json_schema([(m, "serialization") for m in models], ref_template=_REF)
    named = {model: refs[model, "serialization"] for model in models}
    paths: dict[str, Any] = {f"{PREFIX}/stream": _STREAM}
    for route in chosen:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, named, definitions.get("$defs", {}))
    asks = {_name(named[r.ask]) for r in chosen if r.method == "GET"}
    used = {name: schema for name, schema in definitions.get("$defs", {}).items() if name not in asks}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "quicklook", "version": version,
            "description": "What the live page shows and does. Times are UTC, nanoseconds. A wrong question is answered with ErrorAnswer.",
        },
        "paths": paths,
        "components": {"schemas": used, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
    }  # fmt: skip


def _name(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _operation(route: Route, named: dict[type[BaseModel], dict[str, Any]], schemas: dict[str, Any]) -> dict[str, Any]:
    ask = schemas[_name(named[route.ask])]
    in_path = re.findall(r"{(\w+)", route.path)
    out: dict[str, Any] = {"summary": route.summary, "operationId": route.name or route.handler.__name__, "parameters": []}
    required = ask.get("required", [])
    for name, schema in ask.get("properties", {}).items():
        if name in in_path:
            out["parameters"].append({"name": name, "in": "path", "required": True, "schema": schema})
        elif route.method == "GET":
            out["parameters"].append({"name": name, "in": "query", "required": name in required, "schema": schema})
    if route.method == "POST":
        body = {k: v for k, v in ask["properties"].items() if k not in in_path}
        schema = {"type": "object", "properties": body, "required": [r for r in required if r in body], "additionalProperties": False}
        out["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        out["security"] = [{"token": []}]
    content = (
        {"application/octet-stream": {}} if issubclass(route.answer, Blob) else {"application/json": {"schema": named[route.answer]}}
    )
    error = {"description": "It cannot be done, and why", "content": {"application/json": {"schema": named[ErrorAnswer]}}}
    out["responses"] = {"200": {"description": route.summary, "content": content}, "default": error}
    return out


_STREAM: dict[str, Any] = {
    "get": {
        "summary": "Events as they come (server-sent events): `id` is their number, `data` the event; `event: reset` says to fetch all anew",
        "operationId": "stream",
        "parameters": [
            {"name": "after", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 0}},
            {"name": "kinds", "in": "query", "required": False, "schema": {"type": "string"}},
            {"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "integer", "minimum": 0}},
        ],
        "responses": {"200": {"description": "Events", "content": {"text/event-stream": {}}}},
    }
}
