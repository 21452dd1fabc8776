"""One alert from a script to a webhook: the way of `send_alert` in the site pipelines of the Simons Observatory."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime

from monitor.alerts.webhook import body_of_one, post


def send_alert(webhook: str, alertname: str, tag: str, error: str, timestamp: float | None = None, *, timeout_s: float = 10.0) -> str:
    """Tell a webhook, in the form of Alertmanager, that something has failed; returns its fingerprint, the same for the same name, tag and time.

    `tag` says what it is about (an observation, a job), `error` what happened, `timestamp` when (Unix seconds, UTC; now by default).
    Raises Transient where another attempt may go well, BadData where the endpoint refuses it, ValueError for an address that is none.
    """
    if not webhook.startswith(("http://", "https://")):
        raise ValueError("the address of a webhook begins with http:// or https://")
    when = time.time() if timestamp is None else timestamp
    fingerprint = hashlib.sha256(f"{alertname}#{tag}#{when!r}".encode()).hexdigest()[:16]
    begun = datetime.fromtimestamp(when, UTC)
    post(webhook, body_of_one(alertname, tag, error, begun, fingerprint), fingerprint, timeout_s, alertname)
    return fingerprint
