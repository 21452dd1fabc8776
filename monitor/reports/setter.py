"""Sets one document and ends: typst keeps all pictures that it has ever seen in memory, and a daemon makes reports for months.

Run as ``python -m monitor.reports.setter``. On standard input a JSON object: template, document (its JSON, as a text), format, ppi, fonts (whether
those of the machine may be used beside those that typst brings). On standard
output each page or file, after its length (8 bytes, big-endian). Exit status 3: it cannot be set, and why is on standard error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typst

CANNOT = 3


def main() -> int:
    """Set the document on standard input."""
    wish = json.load(sys.stdin.buffer)
    inputs = {"document": wish["document"]}
    source = wish["template"].encode()
    try:
        made = typst.compile(source, root=Path("/"), ignore_system_fonts=not wish["fonts"], format=wish["format"], ppi=wish["ppi"], sys_inputs=inputs)
    except typst.TypstError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        return CANNOT
    for page in [made] if isinstance(made, bytes) else made:
        sys.stdout.buffer.write(len(page).to_bytes(8, "big") + page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
