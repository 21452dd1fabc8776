"""Versions of everything that has a part in a result."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

DISTRIBUTION = "spectroquicklook"
_ALWAYS = (DISTRIBUTION, "numpy", "scipy", "astropy", "numba", "fitsio", "pydantic")


@functools.cache
def version_of(distribution: str) -> str:
    """Installed version of a distribution, or ``not installed``."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def versions(distributions: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python, of what computes, and of the `distributions` that plugins come from."""
    names = dict.fromkeys((*_ALWAYS, *distributions))
    return {"python": platform.python_version(), **{n: version_of(n) for n in names}}


def sha256_of(data: Any) -> str:
    """Checksum of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()
