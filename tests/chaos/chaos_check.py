"""What must hold of an output folder when everything is over, whatever was killed meanwhile."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from astropy.io import fits
from chaos_site import ChaosSite

from quicklook.core.keys import Unit

_JOURNAL = ("journal.sqlite", "daemon.lock", "command")


def complaints(site: ChaosSite, expids: Sequence[int]) -> list[str]:
    """Sentences on what does not hold; empty where all is as it should be."""
    return [*_verdicts(site, expids), *_numbers(site), *_files(site), *_products(site), *_summaries(site, expids), *_jobs(site)]


def _verdicts(site: ChaosSite, expids: Sequence[int]) -> Iterator[str]:
    """Each camera and each exposure has one verdict of revision 0, and there is no other revision; each has arrived once, and has one receipt."""
    for kind in ("verdict", "unit_verdict", "seen", "receipt"):
        rows = site.ask("select unit, coalesce(part, ''), revision from events where kind = ?", kind)
        said = Counter((Unit.parse(str(unit)).expid, str(part), int(str(revision))) for unit, part, revision in rows)
        parts = site.cameras if kind == "verdict" else ("",)
        wanted = {(expid, part, 0) for expid in expids for part in parts}
        yield from (f"{kind} of {key} was given {n} times" for key, n in said.items() if n > 1)
        yield from (f"{kind} of {key} is missing" for key in sorted(wanted - set(said)))
        yield from (f"{kind} of {key} is one too many" for key in sorted(set(said) - wanted))


def _numbers(site: ChaosSite) -> Iterator[str]:
    seqs = [int(str(row[0])) for row in site.ask("select seq from events order by seq")]
    if seqs != list(range(1, len(seqs) + 1)):
        yield f"the numbers of {len(seqs)} events have gaps: they end with {seqs[-1] if seqs else 'none'}"


def _jobs(site: ChaosSite) -> Iterator[str]:
    yield from (f"{n} jobs are {state}" for state, n in site.ask("select state, count(*) from jobs where state <> 'done' group by state"))
    if site.ask("pragma integrity_check") != [("ok",)]:
        yield "the journal is damaged"


def _files(site: ChaosSite) -> Iterator[str]:
    """Every file under its final name can be read to its end."""
    for path in sorted((site.folder / "out").rglob("*")):
        if path.is_file() and not path.name.startswith((".", *_JOURNAL)):
            try:
                _read(path)
            except Exception as error:  # any fault of a file is a complaint
                yield f"{path.relative_to(site.folder)} cannot be read: {error}"


def _read(path: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif ".fits" in path.suffixes:
        with fits.open(path, memmap=False) as hdus:
            for hdu in hdus:
                hdu.verify("exception")
                if hdu.data is not None and len(hdu.data) == 0:
                    raise ValueError(f"HDU {hdu.name} is empty")
        if path.suffix == ".fits" and path.stat().st_size % 2880:
            raise ValueError("it ends within a block")


def _products(site: ChaosSite) -> Iterator[str]:
    """What the last announcement of a product says of its file holds."""
    announced: dict[str, dict[str, object]] = {}
    for (payload,) in site.ask("select payload from events where kind = 'product' order by seq"):
        told = json.loads(str(payload))
        announced[told["path"]] = told
    if not announced:
        yield "no product was announced"
    for name, told in announced.items():
        path = site.folder / "out" / name
        if not path.is_file():
            yield f"product {name} was announced and is not there"
        elif told["sha256"] and hashlib.sha256(path.read_bytes()).hexdigest() != told["sha256"]:
            yield f"product {name} is not what was announced"


def _summaries(site: ChaosSite, expids: Sequence[int]) -> Iterator[str]:
    for expid in expids:
        folder = site.folder / f"out/live/exposures/{Unit(20220101, expid).night:08d}/{expid:08d}"
        wanted = [*(f"qa-{c}-{expid:08d}.json" for c in site.cameras), *(f"preproc-{c}-{expid:08d}.fits" for c in site.cameras)]
        yield from (f"{expid}: {name} is missing" for name in [*wanted, "verdict.json", "receipt.json"] if not list(folder.glob(f"{name}*")))
