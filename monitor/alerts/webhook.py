"""The JSON of webhooks, in the form that Alertmanager sends (version 4), so that what listens to it listens to this.

Source: Prometheus Alertmanager, configuration reference, webhook_config.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

from monitor.alerts.model import Notice, NoticeKind
from monitor.alerts.text import Message, one_line
from quicklook.core.errors import BadData, Transient

_REFUSED = frozenset({301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 413, 415, 422})
"""Answers that a second attempt does not change."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere becomes a GET without a body: what it said would be lost, and look as if it had arrived."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)

_NEVER = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of what has not ended."""


def _iso(ns: int | None) -> str:
    return _NEVER if ns is None else datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _alert(notice: Notice) -> dict[str, Any]:
    alarm = notice.incident
    named = {k: alarm.facts[k] for k in ("part", "qa", "metric", "channel", "unit", "test") if k in alarm.facts}
    said = {"summary": alarm.what, "where": alarm.where, "action": alarm.facts.get("action", "")}
    return {
        "status": "resolved" if notice.kind is NoticeKind.RESOLVED else "firing",
        "labels": {"alertname": alarm.rule, "key": alarm.key, "severity": str(alarm.severity).lower(), **named},
        "annotations": {**{name: one_line(text) for name, text in said.items()}, "notice": str(notice.kind)},
        "startsAt": _iso(alarm.began),
        "endsAt": _iso(alarm.ended),
        "generatorURL": "",
        "fingerprint": alarm.fingerprint,
    }


def body_of(message: Message) -> bytes:
    """The body of a POST, strict JSON in UTF-8; the same for every attempt."""
    alerts = [_alert(n) for n in message.notices]
    return _envelope(message.id, message.channel, message.subject, alerts)


def body_of_one(alertname: str, tag: str, error: str, begun: datetime, fingerprint: str) -> bytes:
    """The body for one alert of a script: its labels are `alertname` and `tag`, its annotation `error`."""
    alert = {
        "status": "firing",
        "labels": {"alertname": alertname, "tag": tag, "severity": "alarm"},
        "annotations": {"summary": error, "error": error},
        "startsAt": begun.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "endsAt": _NEVER,
        "generatorURL": "",
        "fingerprint": fingerprint,
    }
    return _envelope(fingerprint, "script", f"{alertname}: {error}", [alert])


def _envelope(key: str, receiver: str, subject: str, alerts: list[dict[str, Any]]) -> bytes:
    names = {a["labels"]["alertname"] for a in alerts}
    group = {"alertname": names.pop()} if len(names) == 1 else {}
    body = {
        "version": "4",
        "groupKey": key,
        "truncatedAlerts": 0,
        "status": "firing" if any(a["status"] == "firing" for a in alerts) else "resolved",
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": group,
        "commonAnnotations": {"subject": subject},
        "externalURL": "",
        "alerts": alerts,
    }
    return json.dumps(body, allow_nan=False).encode()


def post(address: str, body: bytes, key: str, timeout_s: float, who: str) -> None:
    """POST it; any answer of 2xx is taken as taken. `who` names the channel in errors, which never show the address.

    Raises Transient where another attempt may go well, BadData where it is refused for good.
    """
    headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "quicklook"}
    _ask(urllib.request.Request(address, data=body, headers=headers, method="POST"), timeout_s, who)


def get(address: str, timeout_s: float, who: str) -> None:
    """Ask for an address, to be heard there; raises as `post`."""
    _ask(urllib.request.Request(address, headers={"User-Agent": "quicklook"}), timeout_s, who)


def _ask(request: urllib.request.Request, timeout_s: float, who: str) -> None:
    try:
        with _OPENER.open(request, timeout=timeout_s) as answer:
            answer.read(1 << 16)
    except urllib.error.HTTPError as error:
        said = f"{who}: it answered {error.code} {error.reason}"
        raise (BadData(said) if error.code in _REFUSED else Transient(said)) from None
    except OSError as error:
        raise Transient(f"{who}: {getattr(error, 'reason', error)}") from None
    except (ValueError, http.client.HTTPException) as error:
        raise Transient(f"{who}: {type(error).__name__}: its answer cannot be read") from None
