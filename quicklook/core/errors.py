"""Errors, named after what the operator does next.

A plugin, a reader or the engine raises one of these when it knows what should happen; anything else that is raised
is a fault of the code and is shown as such. Messages say what is wrong, where, and what to do.
"""

from __future__ import annotations

from pydantic_core import ValidationError


class QuicklookError(Exception):
    """Base of all errors that are meant to be read by the operator. `what_next` takes the place of what its kind says of that."""

    what_next: str = "Read the message."

    def __init__(self, message: str = "", *, what_next: str = "") -> None:
        super().__init__(message)
        if what_next:
            self.what_next = what_next


class NotReadyYet(QuicklookError):
    """Something has not arrived or is not complete yet: wait, the system looks again by itself."""

    what_next = "Wait: it is looked at again by itself."


class BadData(QuicklookError):
    """This file or message is broken or is not what it should be: look at it, repeat the exposure if needed."""

    what_next = "Look at the file; repeat the exposure if it is broken."


class MissingCalibration(QuicklookError):
    """A calibration that the chain needs is not there: make one or certify one."""

    what_next = "Make the calibration or add it to the index."


class BadConfig(QuicklookError):
    """A configuration file, option or contract cannot be used: edit it."""

    what_next = "Edit the configuration."


class Transient(QuicklookError):
    """Something outside failed that usually comes back (file system, network): it is retried by itself."""

    what_next = "Nothing: it is retried by itself."


class NoSpace(Transient):
    """A disk is full, or a quota used up: the work goes on by itself as soon as there is room."""

    what_next = "Make room on the disk: the work goes on by itself."


class Hangs(Transient):
    """A file system does not answer: who looks into it does not come back."""

    what_next = "Look after the server of this file system, or unmount it; then try again."


class NotApplicable(QuicklookError):
    """Raised by a QA that does not apply to this part (no such targets, no such region). Not a failure, not UNKNOWN.

    Raised by a step (no sky fibres), it leaves out the step, and every later step and QA that takes what it, or one so left out, would have made.
    """

    what_next = "Nothing."


_LONGEST = 2000
"""Characters of a message; some put a whole table into theirs."""


def _one_line(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # of somebody else: it may do anything
        return "(its message cannot be read)"
    text = " ".join(text[: 2 * _LONGEST].encode(errors="backslashreplace").decode().split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 4] + " ..."


def describe(error: BaseException) -> str:
    """One line for a person: the message of our own errors, type and message of any other; what is no text is escaped, what is endless cut.

    Never raises, whatever the error is.
    """
    text = _one_line(error)
    if isinstance(error, ValidationError):
        # pydantic's own text has addresses and the names of our records in it
        text = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False, include_input=False))
    if isinstance(error, QuicklookError):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
