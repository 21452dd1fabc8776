"""Logs for people (`console`) or machines (`json`: an object a line), on standard error and in the file of a run; workers write into the same file.

Times are UTC. A file that has become large goes on in a new one; of the old ones the last few are kept.
"""

from __future__ import annotations

import fcntl
import json
import logging
import logging.handlers
import os
import time
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

LogFormat = Literal["console", "json"]
_VARIABLE = "QUICKLOOK_LOG"
"""How processes that are started by this one are to log: format, level, bytes of a file, file, with bars between them."""
KEPT = 4
"""So many old files of a log are kept, ``log.txt.1`` being the latest of them."""
_LOCK_TRIES, _LOCK_PAUSE_S = 50, 0.002


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
    """Goes on in a new file when the old one is moved away: by another process of the run, by others (logrotate), or here, where it has more than
    `most` bytes (0: any). A full disk costs lines, and nothing else.
    """

    def __init__(self, file: Path, most: int) -> None:
        super().__init__(file, encoding="utf-8", errors="backslashreplace")
        self._most = most

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        super().emit(record)
        try:
            if self._most and self.stream is not None and os.fstat(self.stream.fileno()).st_size > self._most:
                self._move_away(self.stream.fileno())
        except (OSError, ValueError):  # ValueError: it was closed meanwhile
            return

    def _move_away(self, own: int) -> None:
        """All processes of a run may come to this at once: each locks the file, whatever its name is by now, and looks whether it was done."""
        _lock(own)
        try:
            if not os.path.samestat(os.stat(self.baseFilename), os.fstat(own)):
                return
            for n in range(KEPT - 1, 0, -1):
                with suppress(FileNotFoundError):
                    os.replace(f"{self.baseFilename}.{n}", f"{self.baseFilename}.{n + 1}")
            os.replace(self.baseFilename, f"{self.baseFilename}.1")
            os.close(os.open(self.baseFilename, os.O_CREAT | os.O_WRONLY, 0o666))  # who reads the log finds one, also before the next line
        finally:
            fcntl.flock(own, fcntl.LOCK_UN)

    def handleError(self, record: logging.LogRecord) -> None:
        del record


def _lock(file: int) -> None:
    """Raises OSError where another process has it for too long: it may have been stopped, and the next line tries again."""
    for _ in range(_LOCK_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_PAUSE_S)
    raise BlockingIOError


def set_up(
    form: LogFormat, level: int, file: Path | None = None, *, most: int = 0, environment: MutableMapping[str, str] | None = None
) -> None:
    """Log to standard error, and to a file where one is named; so do the processes that this one starts. What was set up before is replaced.

    A file of more than `most` bytes is moved away, and a new one begun; 0: it grows until somebody moves it.

    Raises OSError where the file cannot be written.
    """
    formatter = JsonFormatter() if form == "json" else ConsoleFormatter()
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file is not None:
        handlers.append(_LogFile(file, most))
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=handlers, force=True)
    logging.getLogger("alembic").setLevel(max(level, logging.WARNING))  # it tells of each of its parts
    where = environment if environment is not None else os.environ
    where[_VARIABLE] = f"{form}|{level}|{most}|{file or ''}"


def inherit() -> None:
    """In a process that was started by one that logs: log in the same way. Nothing where there is none; what cannot be written is left out."""
    form, level, most, file = (os.environ.get(_VARIABLE, "").split("|", 3) + [""] * 4)[:4]
    if form not in ("console", "json") or not (level.isdecimal() and most.isdecimal()):
        return
    try:
        set_up("json" if form == "json" else "console", int(level), Path(file) if file else None, most=int(most))
    except OSError:
        set_up("json" if form == "json" else "console", int(level))
