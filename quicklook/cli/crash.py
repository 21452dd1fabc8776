"""A command that ends by a fault of the program: the report that tells those who can mend it what they need."""

from __future__ import annotations

import errno
import os
import platform
import re
import sys
import tempfile
import traceback
from datetime import UTC, datetime

from quicklook.core.errors import describe

STATUS = 70
"""Exit status of a fault of the program, EX_SOFTWARE of sysexits(3): neither a verdict nor something that the operator can mend."""
VARIABLE = "QUICKLOOK_DEBUG"
_OF_SYSTEM = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Give this user access to it, or name another place."),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room, and try again."),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV), "Look at the disk or the network that it is on, and try again."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Allow more open files (`ulimit -n`), and try again."),
}
"""What the system may refuse, and what to do about it."""
_PASSWORD = re.compile(r"(://[^/:@\s]*:)[^@\s]+@")


def wanted() -> bool:
    """Whether the traceback is to be shown at once (``--debug``, or QUICKLOOK_DEBUG=1)."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def of_system(error: BaseException) -> str:
    """What is said where it is not the program but the system that fails (a disk, permissions); "" for anything else."""
    what_next = _OF_SYSTEM.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    if what_next and wanted():
        traceback.print_exception(error)
    return f"system: {describe(error)}\n  {what_next}" if what_next else ""


def report_of(error: BaseException) -> str:
    """Versions, machine, command line and traceback. Passwords in addresses of databases are left out."""
    from quicklook.core.provenance import versions

    try:
        found = ", ".join(f"{name} {number}" for name, number in versions().items())
    except Exception as trouble:  # the installation itself may be what is broken
        found = f"not known: {describe(trouble)}"
    lines = [
        f"time: {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"command: {' '.join(sys.argv)}",
        f"machine: {platform.platform()}, Python {platform.python_version()}",
        f"versions: {found}",
        "",
        "".join(traceback.format_exception(error)),
    ]
    return _PASSWORD.sub(r"\1***@", "\n".join(lines))


def tell(error: BaseException) -> str:
    """What is said of the fault at the terminal. The report is written into a new file of the folder for temporary files, for the user alone."""
    said = f"this is a fault of the program: {describe(error)}"
    text = report_of(error).encode(errors="backslashreplace")
    if wanted():
        sys.stderr.write(text.decode())
    try:
        number, path = tempfile.mkstemp(prefix="quicklook-fault-", suffix=".txt")
        with os.fdopen(number, "wb") as file:
            file.write(text)
    except OSError as trouble:
        return f"{said}\n  Report it, with what --debug before the command shows (no report could be written: {describe(trouble)})."
    return f"{said}\n  Report it, and send {path}: versions, command line and traceback. What was stored before is as it was."
