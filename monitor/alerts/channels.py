"""Channels: by which messages leave. E-mail by smtplib with a Message-ID that stays the same, JSON by webhook, all else by apprise.

A channel names its address, or where that is written: ``env:NAME`` (a variable) or ``file:/path`` (a file that others cannot read). An address is
never logged: it may hold a password.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from monitor.alerts.text import Message
from monitor.alerts.trend import picture
from monitor.alerts.webhook import body_of, post
from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.io.credentials import secret_of

_MAIL = ("mailto", "mailtos")
_MOST_PICTURES = 3


class ChannelConfig(BaseModel):
    """One channel: where it goes, in which form, how much it bears."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        min_length=1, description="address, or where it is written (env:NAME, file:/path); mailto://... is e-mail, others are as apprise has them"
    )
    form: Literal["auto", "webhook"] = Field("auto", description="webhook: JSON in the form of Alertmanager, by HTTP POST")
    per_hour: int = Field(20, ge=1, description="more messages than that in an hour are put together into digests")
    digest_over: int = Field(3, ge=1, description="more groups than that at once are one message")
    most_alerts: int = Field(1000, ge=1, le=10_000, description="more alarms than that at once are several messages: servers bear only so much")
    timeout_s: float = Field(10.0, gt=0, le=120)


class PartlyRefused(BadData):
    """Some have the message, others were refused: it is not sent again, for those who have it would have it twice."""


class Channel(Protocol):
    """By which a message leaves."""

    def send(self, message: Message) -> None:
        """Hand it over. Raises Transient where another attempt may go well, BadData where it is refused, PartlyRefused where only some have it."""


def address_of(name: str, url: str) -> str:
    """The address itself of the channel `name`. Raises BadConfig where it cannot be had, or others can read it."""
    return secret_of(url, f"address of channel {name}")


def channel_of(name: str, config: ChannelConfig) -> Channel:
    """The channel of that name. Raises BadConfig for an address that is none; the message does not show it."""
    address = address_of(name, config.url)
    scheme = urlsplit(address).scheme.lower() if "://" in address else ""
    if config.form == "webhook":
        if scheme not in ("http", "https"):
            raise BadConfig(f"channel {name}: a webhook has an address that begins with http:// or https://")
        return Webhook(name, address, config.timeout_s)
    made = _apprise(name, address)
    return Mail(name, made, config.timeout_s) if scheme in _MAIL else Apprise(name, made)


def _apprise(name: str, address: str) -> Any:
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs addresses
    made = apprise.Apprise.instantiate(address)
    if made is None:
        raise BadConfig(f"channel {name}: apprise cannot read its address", what_next="See `apprise --help` for the form of addresses.")
    return made


class Webhook:
    """JSON by HTTP POST, in the form of Alertmanager's webhooks."""

    def __init__(self, name: str, address: str, timeout_s: float) -> None:
        self._name, self._address, self._timeout_s = name, address, timeout_s

    def send(self, message: Message) -> None:
        """POST it; any answer of 2xx is taken as taken."""
        post(self._address, body_of(message), message.id, self._timeout_s, f"channel {self._name}")


class Mail:
    """E-mail. apprise reads the address (and knows the servers of providers); the message itself is sent here, for its Message-ID stays the same."""

    def __init__(self, name: str, made: Any, timeout_s: float) -> None:
        self._name, self._made, self._timeout_s = name, made, timeout_s

    def send(self, message: Message) -> None:
        """To all recipients. Raises Transient, or BadData where the server refuses the message for good."""
        mail, to = self._mail(message)
        made = self._made
        try:
            with self._connect() as server:
                if made.user:
                    server.login(made.user, made.password or "")
                refused = server.send_message(mail, from_addr=made.from_addr[1], to_addrs=to)
        except smtplib.SMTPResponseException as error:
            said = f"channel {self._name}: the server answered {error.smtp_code}"
            raise (BadData(said) if 500 <= error.smtp_code < 600 else Transient(said)) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            said = f"channel {self._name}: the server refuses the recipients ({', '.join(map(str, sorted(codes)))})"
            raise (BadData(said) if min(codes) >= 500 else Transient(said)) from None
        except (OSError, smtplib.SMTPException) as error:
            raise Transient(f"channel {self._name}: {type(error).__name__}: {error}") from None
        if refused:
            raise PartlyRefused(f"channel {self._name}: {len(refused)} of {len(to)} recipients were refused, the others have it")

    def _connect(self) -> smtplib.SMTP:
        made = self._made
        host, secure = made.smtp_host or made.host, str(made.secure_mode)
        context = ssl.create_default_context()
        if secure == "ssl":
            return smtplib.SMTP_SSL(host, made.port or 465, timeout=self._timeout_s, context=context)
        server = smtplib.SMTP(host, made.port or (587 if secure == "starttls" else 25), timeout=self._timeout_s)
        try:
            if secure == "starttls":
                server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server

    def _mail(self, message: Message) -> tuple[EmailMessage, list[str]]:
        made, mail = self._made, EmailMessage()
        to = [address for _, address in made.targets]
        mail["Subject"], mail["From"], mail["To"] = message.subject, made.from_addr[1], ", ".join(to)
        mail["Date"] = format_datetime(datetime.fromtimestamp(message.made / 1e9, UTC))
        mail["Message-ID"] = f"<{message.id}@quicklook>"
        fingerprints = list(dict.fromkeys(n.incident.fingerprint for n in message.notices))
        mail["X-Quicklook-Fingerprints"] = " ".join(fingerprints[:50])
        mail.set_content(message.text)
        for number, (fingerprint, trend) in enumerate(list(message.trends.items())[:_MOST_PICTURES]):
            incident = next(n.incident for n in message.notices if n.incident.fingerprint == fingerprint)
            mail.add_attachment(picture(trend, incident), maintype="image", subtype="png", filename=f"trend-{number}.png")
        return mail, to


class Apprise:
    """Chat, SMS gateways, phone bridges, whatever apprise knows. The message names its fingerprints, so that a second copy is known as one."""

    def __init__(self, name: str, made: Any) -> None:
        self._name, self._made = name, made

    def send(self, message: Message) -> None:
        """Hand it to apprise; it does not say why it could not, so that all is Transient."""
        import apprise

        worst = max(n.incident.severity for n in message.notices)
        kind = apprise.NotifyType.FAILURE if worst.rank > 2 else apprise.NotifyType.WARNING
        try:
            taken = self._made.notify(body=message.text, title=message.subject, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
        except Exception as error:  # of a plugin of somebody else
            raise Transient(f"channel {self._name}: {type(error).__name__}") from None
        if not taken:
            raise Transient(f"channel {self._name}: apprise could not send it")
