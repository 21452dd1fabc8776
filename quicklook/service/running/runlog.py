"""Logs for people (`console`) or machines (`json`: an object a line), on standard error and in the file of a run; workers write into the same file.

Times are UTC.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

LogFormat = Literal["console", "json"]
_VARIABLE = "QUICKLOOK_LOG"
"""How processes that are started by this one are to log: format, level, file, with bars between them."""


class JsonFormatter(logging.Formatter):
    """An object a line: time (UTC, ISO 8601), level, logger, process (its number), message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """A line as people read it."""

    default_time_format = "%Y-%m-%d %H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.converter = time.gmtime


class _LogFile(logging.handlers.WatchedFileHandler):
    """Goes on in a new file when the old one is moved away (logrotate). A full disk costs lines, and nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:
        del record


def set_up(form: LogFormat, level: int, file: Path | None = None, *, environment: MutableMapping[str, str] | None = None) -> None:
    """Log to standard error, and to a file where one is named; so do the processes that this one starts. What was set up before is replaced.

    Raises OSError where the file cannot be written.
    """
    formatter = JsonFormatter() if form == "json" else ConsoleFormatter()
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file is not None:
        handlers.append(_LogFile(file, encoding="utf-8", errors="backslashreplace"))
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=handlers, force=True)
    where = environment if environment is not None else os.environ
    where[_VARIABLE] = f"{form}|{level}|{file or ''}"


def inherit() -> None:
    """In a process that was started by one that logs: log in the same way. Nothing where there is none; what cannot be written is left out."""
    form, _, rest = os.environ.get(_VARIABLE, "").partition("|")
    level, _, file = rest.partition("|")
    if form not in ("console", "json") or not level.isdecimal():
        return
    try:
        set_up("json" if form == "json" else "console", int(level), Path(file) if file else None)
    except OSError:
        set_up("json" if form == "json" else "console", int(level))
