"""Secrets of other systems (addresses with passwords, tokens): a setting names where they are written, and they are never logged."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from quicklook.core.errors import BadConfig, describe


def secret_of(setting: str, what: str) -> str:
    """The secret that a setting names: ``env:NAME`` (a variable), ``file:/path`` (a file that others cannot read), or is itself.

    `what` says what it is, as in "address of channel x". Raises BadConfig where it cannot be had, or others can read it.
    """
    kind, _, place = setting.partition(":")
    if kind == "env":
        found = os.environ.get(place, "")
        if not found:
            raise BadConfig(f"the variable {place} has no {what}", what_next=f"Set {place} in the environment of the daemon.")
        return found
    if kind == "file":
        path = Path(place.removeprefix("//"))
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise BadConfig(f"{path} can be read by others; run: chmod 600 {path}")
            secret = path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:  # no text, or no path
            raise BadConfig(f"{path}, with the {what}, cannot be read: {describe(error)}") from error
        if not secret:
            raise BadConfig(f"{path} is empty, and should have the {what}")
        return secret
    return setting
