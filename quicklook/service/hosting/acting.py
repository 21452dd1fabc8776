"""Who may act, and what is done for them: commands to the daemon, as any client gives them, and frames to DS9."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Mapping
from pathlib import Path

from quicklook.client.control import Controller
from quicklook.core.errors import BadConfig, QuicklookError, Transient
from quicklook.core.hosting import Role
from quicklook.core.keys import Unit
from quicklook.core.wire import CommandAnswer
from quicklook.io.curvekeys import ClientKeys
from quicklook.io.ds9 import Ds9
from quicklook.service.hosting import shown
from quicklook.service.publishing.commands import command_endpoint, read_token, token_of
from quicklook.service.site import Site

log = logging.getLogger("quicklook.web")

_COMMAND_S = 20.0
_MOST_SHOWN = 12


class Acting:
    """For a site. Tokens are read when they are needed: a daemon may make its own later."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def why_not(self) -> str:
        """Why nothing can be done from here; "" where it can."""
        if not command_endpoint(self._site.out, self._site.file.commands):
            return "the daemon takes no commands"
        try:
            self._token()
        except QuicklookError as error:
            return str(error)
        return ""

    def _token(self) -> str:
        """The token for actions: that of the page, else that of the command socket. Raises BadConfig."""
        own = self._site.file.web.token
        return read_token(Path(own)) if own else token_of(self._site.out, self._site.file.commands)

    def role(self, token: str) -> Role:
        """What somebody may do who gives this token."""
        reading = self._site.file.web.read_token
        for role, given in ((Role.ACT, self._token), (Role.READ, (lambda: read_token(Path(reading))) if reading else None)):
            try:
                wanted = given() if given is not None else ""
            except QuicklookError as error:
                log.debug("nobody is %s: %s", role, error)
                continue
            if wanted and token and hmac.compare_digest(_digest(token), _digest(wanted)):
                return role
        return Role.NOBODY

    def command(self, name: str, args: Mapping[str, str], by: str, *, lives: bool) -> CommandAnswer:
        """Give the daemon a command in the name of a person."""
        settings, out = self._site.file.commands, self._site.out
        endpoint = command_endpoint(out, settings)
        if not endpoint:
            raise BadConfig("the daemon takes no commands", what_next="Give it a command socket: `commands: {endpoint: ...}` of the site.")
        if not lives:
            raise Transient(f"no daemon works in {out}", what_next="Start it with `quicklook watch`.")
        keys = self._keys() if settings.keys else None
        with Controller(endpoint, token="" if keys else token_of(out, settings), keys=keys, by=by, timeout_s=_COMMAND_S) as controller:
            return controller.send(name, **args)

    def _keys(self) -> ClientKeys:
        folder = self._site.file.web.keys
        if not folder:
            what_next = "Make keys for the page (quicklook keys add KEYS page --commands), and name their folder: `web: {keys: FOLDER}`."
            raise BadConfig("this daemon takes commands by keys, and the page has none", what_next=what_next)
        return ClientKeys.load(folder)

    def show(self, unit: Unit, part: str, product: str, tag: str) -> str:
        """Send a frame to the DS9 of the site."""
        viewer, names = Ds9(self._site.file.web.ds9), list[str]()
        for name, pixels in shown.images(self._site, product, unit.night, [unit.expid], [part] if part else [], tag):
            if len(names) == _MOST_SHOWN:
                break
            viewer.show(name, pixels)
            names.append(name)
        return f"DS9 shows {', '.join(names)}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
