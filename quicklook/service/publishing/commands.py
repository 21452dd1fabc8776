"""The command socket: what people may do to a daemon from outside. Every command becomes an event: who, what, outcome.

Who may: with keys, those whose public key is in the folder of commanders; without, on this machine alone, those who can read the token.
"""

from __future__ import annotations

import getpass
import hmac
import logging
import math
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quicklook.core.errors import BadConfig, BadData, QuicklookError, Transient, describe
from quicklook.core.events import CommandGiven, draft
from quicklook.core.keys import Unit
from quicklook.core.results import Override
from quicklook.core.status import Status
from quicklook.core.wire import CommandAnswer, CommandRequest, Refusal
from quicklook.io.curvekeys import COMMANDERS, write_private
from quicklook.service.alarms.wishes import wish
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.publishing.doors import Desk, Door, check_endpoint
from quicklook.service.publishing.snapshot import state_of
from quicklook.service.rerun.rerunning import requeue_failed, rerun
from quicklook.service.settings import CommandSettings
from quicklook.service.site import Site
from quicklook.service.verdicts.overriding import Place
from quicklook.service.verdicts.overriding import override as overrule

log = logging.getLogger("quicklook.commands")

TOKEN_VARIABLE = "QUICKLOOK_TOKEN"
_LONGEST_PATH = 100
"""A socket in the file system may have a name of about so many bytes."""
_SAID_EVERY_S = 10.0
_SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a command does to the daemon itself: wake it up, ask it to stop, read its configuration again (says what came of it)."""

    wake: Callable[[], None]
    stop: Callable[[], None]
    reload: Callable[[], str]


def token_path(out: Path) -> Path:
    """Where the token of an output folder is, unless the site names a file."""
    return out / "command.token"


def command_endpoint(out: Path, settings: CommandSettings) -> str:
    """Where the command socket of an output folder is; "" where there is none: switched off, or the path is too long for a socket."""
    if settings.endpoint != "auto":
        return settings.endpoint
    path = str((out / "command.ipc").absolute())
    return f"ipc://{path}" if len(os.fsencode(path)) <= _LONGEST_PATH else ""


def token_of(out: Path, settings: CommandSettings, *, make: bool = False) -> str:
    """The token: from the environment, or a file, which is made where it is not there. Raises BadConfig where others can read it or guess it."""
    if given := os.environ.get(TOKEN_VARIABLE, ""):
        if len(given) < _SHORTEST_TOKEN:
            raise BadConfig(f"the token in {TOKEN_VARIABLE} is too short to be safe; it needs {_SHORTEST_TOKEN} characters")
        return given
    path = Path(settings.token) if settings.token else token_path(out)
    if make and not path.exists():
        write_private(path, secrets.token_urlsafe(32) + "\n")
    return read_token(path)


def read_token(path: Path) -> str:
    """The token in a file. Raises BadConfig where others can read it or guess it, or we cannot."""
    try:
        if path.stat().st_mode & 0o077:
            raise BadConfig(f"{path} can be read by others; run: chmod 600 {path}")
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"the token {path} cannot be read: {error}; only who may command the daemon can read it") from error
    if len(text) < _SHORTEST_TOKEN:
        raise BadConfig(f"the token in {path} is too short to be safe; remove the file, and the daemon makes another")
    return text


class Commander:
    """The command socket of a daemon, in a thread of its own."""

    def __init__(self, site: Site, hooks: Hooks, endpoint: str) -> None:
        self._site, self._hooks = site, hooks
        self._strangers, self._said_at = 0, -math.inf
        self._desk: Desk | None = None
        if endpoint:
            self._bind(endpoint)

    def _bind(self, endpoint: str) -> None:
        settings = self._site.file.commands
        try:
            check_endpoint(endpoint, settings.keys)
            self._token = "" if settings.keys else token_of(self._site.out, settings, make=True)
        except BadConfig as error:
            raise BadConfig(f"{self._site.document.where(('commands',))}: {error}") from error
        self._journal = Journal(journal_path(self._site.out), time.time_ns)
        self._door = Door(settings.keys, (COMMANDERS,))
        try:
            self._desk = Desk(self._door, endpoint, "commands", self)
        except Exception:
            self._door.close()
            self._journal.close()
            raise

    @classmethod
    def start(cls, site: Site, hooks: Hooks) -> Commander:
        """For a site; without a socket, and with a word in the log, where the default address cannot be used: the work does not depend on it.

        Raises BadConfig or Transient where the site names an address that cannot be used.
        """
        given, endpoint = site.file.commands.endpoint, command_endpoint(site.out, site.file.commands)
        if given and not endpoint:
            log.warning("%s is too long for a command socket; name another one under `commands` of the site", site.out)
        try:
            return cls(site, hooks, endpoint)
        except QuicklookError as error:
            if given != "auto":
                raise
            log.warning("there is no command socket: %s", error)
            return cls(site, hooks, "")

    @property
    def endpoint(self) -> str:
        """Where it is bound; "" for nowhere."""
        return self._desk.endpoint if self._desk is not None else ""

    def close(self) -> None:
        """End the thread, close the socket."""
        if self._desk is not None:
            self._desk.close()
            self._door.close()
            self._journal.close()

    def __call__(self, body: bytes, user: str) -> list[bytes]:
        """The answer to one command, which is in the journal then."""
        try:
            request = CommandRequest.model_validate_json(body)
        except ValidationError as error:
            wrong = BadData(f"this is no command: {describe(error)}", what_next='Send JSON, as in {"command": "status", "by": "me"}.')
            return [_refusal(0, wrong)]
        if not self._may(request, user):
            self._turn_away(request)
            return [_refusal(request.id, BadConfig("the token is not that of this daemon", what_next="Give the token of the daemon."))]
        by = " ".join(request.by.split())  # a name is one line, in the log too
        if user and by and by != user:  # the page has one key, and gives commands for many people
            by = f"{by} (key {user})"
        return [self._obey(request, by or user or "somebody", "key" if user else "token")]

    def _turn_away(self, request: CommandRequest) -> None:
        """Nothing that a stranger sends gets into the journal, and few words into the log. A token is too long to be guessed: nobody waits for it."""
        self._strangers += 1
        if time.monotonic() - self._said_at >= _SAID_EVERY_S:
            said = "%d commands were refused, the last one %.64r by %.64r: the token is not the one of this daemon"
            log.warning(said, self._strangers, request.command, request.by)
            self._strangers, self._said_at = 0, time.monotonic()

    def _may(self, request: CommandRequest, user: str) -> bool:
        return bool(user) or bool(self._token and hmac.compare_digest(request.token.encode(), self._token.encode()))

    def _obey(self, request: CommandRequest, by: str, via: str) -> bytes:
        refused: QuicklookError | None = None
        answer = CommandAnswer(id=request.id, command=request.command, said="")
        try:
            if request.command not in _COMMANDS:
                raise BadConfig(f"there is no command {request.command!r}; there are: {', '.join(_COMMANDS)}", what_next="Give one of these.")
            does, takes = _COMMANDS[request.command]
            if strange := sorted(set(request.args) - set(takes)):  # what is misspelt would be done to more than was meant
                may = f"it takes: {', '.join(takes)}" if takes else "it takes none"
                raise BadConfig(f"{request.command} has no argument {', '.join(map(repr, strange))}; {may}", what_next="Leave it out.")
            said, result = does(self, request.args, by)
            answer = answer.model_copy(update={"said": said, "result": result})
        except QuicklookError as error:
            refused = error
        except Exception as error:
            log.exception("command %s: %s", request.command, describe(error))
            refused = BadData(f"this is a fault of the program: {describe(error)}", what_next="Look at the log of the daemon.")
        told = describe(refused) if refused else answer.said
        log.info("command %s by %s: %s", request.command, by, told)
        try:
            given = CommandGiven(name=request.command, args=request.args, by=by, via=via, done=refused is None, said=told)
            self._journal.append([draft(given, tag=self._site.file.tag)])
        except Transient as error:
            log.warning("the command is not in the journal: %s", error)
        self._hooks.wake()
        return _refusal(request.id, refused) if refused else answer.model_dump_json().encode()

    # ---- the commands

    def _status(self, _args: Mapping[str, str], _by: str) -> tuple[str, dict[str, Any]]:
        state = state_of(self._journal, tag=self._site.file.tag)
        return f"event {state.seq}", state.model_dump(mode="json")

    def _rerun(self, args: Mapping[str, str], _by: str) -> tuple[str, dict[str, Any]]:
        unit, part = _unit(args), args.get("part", "")
        site = self._site
        number = rerun(self._journal, site.out, unit, site.file.tag, [part] if part else [], unit_s=site.file.watch.unit_s)
        return f"{unit} {part}".rstrip() + f" is processed again, as revision {number}", {"revision": number}

    def _requeue(self, args: Mapping[str, str], _by: str) -> tuple[str, dict[str, Any]]:
        unit, site = _unit(args) if args.get("unit") else None, self._site
        done = requeue_failed(self._journal, site.out, site.file.tag, unit, unit_s=site.file.watch.unit_s)
        return done.said, {"jobs": done.jobs, **({"gone": done.gone} if done.gone else {})}

    def _override(self, args: Mapping[str, str], by: str) -> tuple[str, dict[str, Any]]:
        site, unit = self._site, _unit(args)
        try:
            status = Status(args.get("status", "").upper())
        except ValueError as error:
            raise BadConfig(f"a verdict is {', '.join(Status)}, not {args.get('status', '')!r}", what_next="Give one of these as status.") from error
        if not args.get("reason", "").strip():
            raise BadConfig("an override says who and why", what_next="Give the reason.")
        change = Override(part=args.get("part", ""), was=status, status=status, by=by, reason=args["reason"], time=time.time_ns())
        place = Place(out=site.out, tag=site.file.tag, unit=unit, journal=journal_path(site.out))
        done = overrule(place, change, site.decisions(), site.instrument.cameras.expected)
        return f"{unit} was {done.before.status} and is {done.after.status}", {"revision": done.after.revision, "status": str(done.after.status)}

    def _reload(self, _args: Mapping[str, str], _by: str) -> tuple[str, dict[str, Any]]:
        return self._hooks.reload(), {}

    def _acknowledge(self, args: Mapping[str, str], _by: str) -> tuple[str, dict[str, Any]]:
        return wish("acknowledge", self._journal, args)

    def _mute(self, args: Mapping[str, str], _by: str) -> tuple[str, dict[str, Any]]:
        return wish("mute", self._journal, args)

    def _unmute(self, args: Mapping[str, str], _by: str) -> tuple[str, dict[str, Any]]:
        return wish("unmute", self._journal, args)

    def _mark(self, args: Mapping[str, str], _by: str) -> tuple[str, dict[str, Any]]:
        return wish("mark", self._journal, args)

    def _stop(self, _args: Mapping[str, str], by: str) -> tuple[str, dict[str, Any]]:
        log.warning("%s stops the daemon", by)
        self._hooks.stop()
        return "the daemon stops", {}


_Does = Callable[[Commander, Mapping[str, str], str], tuple[str, dict[str, Any]]]
_COMMANDS: Mapping[str, tuple[_Does, tuple[str, ...]]] = {
    "status": (Commander._status, ()),
    "rerun": (Commander._rerun, ("unit", "part")),
    "requeue": (Commander._requeue, ("unit",)),
    "override": (Commander._override, ("unit", "part", "status", "reason")),
    "acknowledge": (Commander._acknowledge, ("alarm", "reason")),
    "mute": (Commander._mute, ("pattern", "minutes", "reason", "severity")),
    "unmute": (Commander._unmute, ("mute",)),
    "mark": (Commander._mark, ("alarm", "as")),
    "reload": (Commander._reload, ()),
    "stop": (Commander._stop, ()),
}
"""Commands, and the arguments that each takes."""


def _unit(args: Mapping[str, str]) -> Unit:
    try:
        return Unit.parse(args.get("unit", ""))
    except ValueError as error:
        raise BadConfig(str(error), what_next="Name the exposure as NIGHT/EXPID.") from error


def _refusal(number: int, error: QuicklookError) -> bytes:
    refusal = Refusal(id=number, error=type(error).__name__, message=describe(error), what_next=error.what_next)
    return refusal.model_dump_json().encode()


def who() -> str:
    """The name of the person at this terminal, for the journal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
