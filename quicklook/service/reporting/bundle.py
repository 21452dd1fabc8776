"""An incident bundle: one archive on an exposure, to be sent to an expert. It opens offline, at its ``index.html``.

Its size is bounded; what was left out for that, or is not there, it says in its ``README.txt``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shlex
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from quicklook.core.errors import QuicklookError, describe
from quicklook.core.events import PAYLOADS, Heartbeat, QADone, StepDone
from quicklook.core.keys import Unit
from quicklook.core.provenance import versions
from quicklook.core.reporting import ReportDocument, Reporter
from quicklook.io.atomic import atomic
from quicklook.io.instrument import load_instrument
from quicklook.io.reader import open_reader
from quicklook.service.reporting.cutouts import MOST, CutOut, Spot, cut_out, spots_of
from quicklook.service.reporting.exposures import exposure_report, rerun_commands
from quicklook.service.reporting.housekeeping import span_of
from quicklook.service.reporting.pictures import of_exposure
from quicklook.service.reporting.place import ReportPlace
from quicklook.service.reporting.secrets import clean_record, clean_text, without_secrets
from quicklook.service.reporting.stored import StoredExposure, read_exposure
from quicklook.service.reporting.words import moment_of, now_words

WINDOW_S = 900.0
"""Housekeeping of so long before and after the exposure goes with it."""
_NEEDED = 200_000
"""Bytes that are kept for what always goes in: the page, its README and the list of checksums."""
_HK_SAMPLES = 400_000
_HK_S = 20.0
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleWish:
    """What is to go into a bundle: of which cameras (none: all), in at most so many bytes, with housekeeping of so many seconds before and after."""

    cameras: frozenset[str] = frozenset()
    most_bytes: int = 20_000_000
    window_s: float = WINDOW_S


@dataclass(slots=True)
class _Archive:
    """The archive while it is made: what has gone in, how much there is room for, what was left out."""

    zip: zipfile.ZipFile
    room: int
    left_out: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, content: bytes, *, needed: bool = False) -> bool:
        """Put a file in, if there is room for it (or it is `needed`)."""
        if not needed and len(content) > self.room and len(zlib.compress(content)) > self.room:
            self.left_out.append(f"{name} ({len(content) / 1e6:.1f} MB): it would make the bundle too large")
            return False
        info = zipfile.ZipInfo(name, _TIME)
        info.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        before = self.zip.fp.tell() if self.zip.fp is not None else 0
        self.zip.writestr(info, content)
        self.room -= (self.zip.fp.tell() if self.zip.fp is not None else 0) - before
        self.files[name] = hashlib.sha256(content).hexdigest()
        return True

    def add_file(self, name: str, path: Path) -> None:
        """A file as it lies on the disk."""
        try:
            size = path.stat().st_size
            if size > 4 * max(self.room, 1):  # it would not fit compressed, either
                self.left_out.append(f"{name} ({size / 1e6:.1f} MB): it would make the bundle too large")
                return
            self.add(name, path.read_bytes())
        except OSError as error:
            self.left_out.append(f"{name}: {describe(error)}")


def write_bundle(reporter: Reporter, place: ReportPlace, unit: Unit, path: Path, wish: BundleWish) -> list[str]:
    """Write the bundle of an exposure to `path`; returns what was left out, in sentences.

    Raises BadData where nothing of the exposure can be read, Transient, NoSpace, BadConfig where it cannot be written.
    """
    found = read_exposure(place, unit)
    with atomic(path) as file, zipfile.ZipFile(file, "w") as archive:
        made = _Archive(archive, wish.most_bytes - _NEEDED)
        _facts(made, place, found)
        _configuration(made, found)
        _results(made, found, wish)
        _cut_outs(made, reporter, found, wish)
        _housekeeping(made, place, found, wish)
        _plots(made, found, wish)
        document = clean_record(exposure_report(place, unit, most_plots=10_000))
        links = {name: name for name in sorted(made.files) if name.startswith("cutouts/") and name.endswith(".png")}
        page = reporter.html(document, base=found.folder, links={**links, "README": "README.txt"})
        kept = _only_there(page, made, _plots_in(found.folder, document))
        made.add("index.html", kept.encode("utf-8", "replace"), needed=True)
        made.add("README.txt", _readme(found, made, wish).encode("utf-8", "replace"), needed=True)
        made.add("MANIFEST.json", json.dumps(made.files, indent=1, sort_keys=True).encode(), needed=True)
    return made.left_out


def _plots_in(folder: Path, document: ReportDocument) -> list[str]:
    """Names of the pictures that a document links, as seen from its folder."""
    figures = (figure for s in document.sections for block in s.blocks if block.block == "figures" for figure in block.items)
    return [str(Path(figure.path).relative_to(folder.absolute())) for figure in figures]


def _only_there(page: str, made: _Archive, plots: Sequence[str]) -> str:
    """A page whose pictures that did not fit are said to be left out."""
    missing = sum(name not in made.files for name in plots)
    note = f'<p class="absent">{missing} plots are not in this bundle; README.txt says which.</p>' if missing else ""
    return page.replace("<main>", f"<main>{note}", 1)


# ---- what goes in


def _facts(made: _Archive, place: ReportPlace, found: StoredExposure) -> None:
    lines, left = place.log_lines(found.run, [str(found.unit)])
    made.add("log.txt", clean_text("\n".join(lines) + "\n").encode("utf-8", "replace"))
    if not lines:
        made.left_out.append("log.txt is empty: no log of a run that speaks of the exposure is there")
    if left:
        made.left_out.append(f"{left} earlier lines of the log")
    kinds = [k for k in PAYLOADS if k not in (QADone.kind, StepDone.kind, Heartbeat.kind)]
    events = place.events_of(str(found.unit), kinds)
    made.add("events.jsonl", "".join(f"{json.dumps(without_secrets(e.model_dump(mode='json')))}\n" for e in events).encode())
    if not events:
        made.left_out.append("events.jsonl is empty: the journal says nothing (any more) of the exposure")
    commands = "".join(f"# {what}\n{shlex.join(words)}\n" for what, words in rerun_commands(found).items())
    made.add("rerun.sh", f"#!/bin/sh\n# How the exposure is done again, where its raw file and the site are.\n{commands}".encode())
    told = {"here": versions(("typst", "matplotlib")), "results": [r.provenance.versions for r in found.results]}
    made.add("versions.json", json.dumps(told, indent=1).encode())


def _configuration(made: _Archive, found: StoredExposure) -> None:
    if found.run is None:
        made.left_out.append("configuration: none of a run of the daemon is kept in the output folder")
        return
    for path in sorted(found.run.path.glob("*.yaml")):
        _add_yaml(made, f"configuration/{path.name}", path)
    with suppress(OSError, ValueError):
        facts = without_secrets(json.loads((found.run.path / "run.json").read_bytes()))
        made.add("configuration/run.json", json.dumps(facts, indent=1).encode())


def _add_yaml(made: _Archive, name: str, path: Path) -> None:
    try:
        documents = [without_secrets(d) for d in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
        text = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        made.left_out.append(f"{name}: {describe(error)}")
        return
    made.add(name, f"# {path}; secrets are removed\n{text}".encode())


def _results(made: _Archive, found: StoredExposure, wish: BundleWish) -> None:
    for name in ("verdict.json", "decision.json", "receipt.json"):
        if (found.folder / name).is_file():
            made.add_file(name, found.folder / name)
        else:
            made.left_out.append(f"{name}: it is not there")
    for result in found.results:
        if not wish.cameras or result.part in wish.cameras:
            name = f"qa-{result.part}-{found.unit.expid:08d}.json"
            made.add_file(name, found.folder / name)


def _cut_outs(made: _Archive, reporter: Reporter, found: StoredExposure, wish: BundleWish) -> None:
    spots = [s for s in spots_of(found.results) if not wish.cameras or s.camera in wish.cameras]
    if not spots:
        made.left_out.append("cut-outs: nothing was found at an amplifier or a fibre")
        return
    for one in _limited(_cut(found, spots), MOST):
        if isinstance(one, str):
            made.left_out.append(f"cut-outs: {one}")
            continue
        made.add(f"cutouts/{one.name}.fits", one.fits())
        made.add(f"cutouts/{one.name}.png", reporter.picture(one.plot()))


def _limited(each: Iterable[CutOut | str], most: int) -> Iterator[CutOut | str]:
    """So many cut-outs at most, and all sentences that come before the next one."""
    for one in each:
        most -= not isinstance(one, str)
        if most < 0:
            yield "there are more than fit into a bundle"
            return
        yield one


def _cut(found: StoredExposure, spots: Sequence[Spot]) -> Iterator[CutOut | str]:
    if found.run is None or found.seen is None or not found.seen.path:
        yield "it is not known which raw file it is, or of which instrument"
        return
    raw = Path(found.seen.path)
    if not raw.is_file():
        yield f"the raw file {raw} is not there any more"
        return
    try:
        reader = open_reader(load_instrument(str(found.run.setting("instrument"))))
    except QuicklookError as error:
        yield f"the instrument cannot be used: {describe(error)}"
        return
    yield from cut_out(reader, raw, found.folder, spots, found.unit.expid)


def _housekeeping(made: _Archive, place: ReportPlace, found: StoredExposure, wish: BundleWish) -> None:
    span = span_of(found.tags)
    if span is None:
        made.left_out.append("housekeeping: the header does not say when the exposure began")
        return
    try:
        store = place.hk_store(found.run)
    except QuicklookError as error:
        made.left_out.append(f"housekeeping: {describe(error)}")
        return
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["time_unix_s", "time_utc", "channel", "unit", "value", "valid"])
    rows, left, end = 0, 0, time.monotonic() + _HK_S
    try:
        for channel in store.channels():
            if time.monotonic() > end:
                left += 1
                continue
            for series in store.fetch([channel], span[0] - wish.window_s, span[1] + wish.window_s).values():
                if rows + len(series.times) > _HK_SAMPLES:
                    left += 1
                    continue
                bad = np.ma.getmaskarray(series.values)
                shown = series.texts if series.words else np.ma.getdata(series.values).tolist()
                for t, value, invalid in zip(series.times.tolist(), shown, bad.tolist(), strict=True):
                    told = "" if value is None else value
                    writer.writerow([f"{t:.3f}", moment_of(t), series.channel, series.unit, told, "no" if invalid else "yes"])
                rows += len(series.times)
    except QuicklookError as error:
        made.left_out.append(f"housekeeping: {describe(error)}")
        return
    finally:
        store.close()
    if left:
        made.left_out.append(f"housekeeping: {left} channels, as there are too many samples; take a shorter window")
    if not rows:
        made.left_out.append("housekeeping: the store has no sample of that time")
    made.add("housekeeping.csv", out.getvalue().encode())


def _plots(made: _Archive, found: StoredExposure, wish: BundleWish) -> None:
    for one in of_exposure(found.folder, found.unit, found.measured):
        part = one.caption.rpartition(", ")[2]
        if not wish.cameras or part in (*wish.cameras, "exposure") or one.path.name.startswith("contact-"):
            if one.path.is_file():
                made.add_file(f"plots/{one.path.name}", one.path)
            else:
                made.left_out.append(f"plots/{one.path.name}: it is not drawn")


def _readme(found: StoredExposure, made: _Archive, wish: BundleWish) -> str:
    cameras = ", ".join(sorted(wish.cameras)) or "all"
    status = str(found.verdict.status) if found.verdict is not None else "not reached"
    what = {
        "qa-": "qa-*.json         merged QA of each camera: every metric with its limits; verdict.json, decision.json, receipt.json",
        "cutouts/": "cutouts/          raw pixels (ADU, FITS and PNG) around what was found; X0, Y0 in their headers are the place in the raw frame",
        "plots/": "plots/            pictures of the QAs",
        "housekeeping": f"housekeeping.csv  samples from {wish.window_s:g} s before to {wish.window_s:g} s after the exposure, UTC; not valid: fills",
        "configuration/": "configuration/    the site with every default, chains, the run of the daemon; secrets are removed",
    }
    lines = [
        f"Incident bundle of exposure {found.unit}, tag {found.tag}, revision {found.revision}",
        f"Verdict: {status}. Cameras: {cameras}. Made {now_words()}.",
        "",
        "index.html        the report; open it in a browser, no network is needed",
        *(text for start, text in what.items() if any(name.startswith(start) for name in made.files)),
        "log.txt, events.jsonl, versions.json, rerun.sh, MANIFEST.json (SHA-256 of every file)",
        "",
        "Left out:" if made.left_out else "Nothing was left out.",
        *(f"- {text}" for text in made.left_out),
    ]
    return "\n".join(lines) + "\n"
