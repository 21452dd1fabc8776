"""Chapters that every report has: calibrations, versions and configuration, the log, how it is done again. From stored results."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from quicklook.core.calibration import CalibrationUsed
from quicklook.core.provenance import versions
from quicklook.core.reporting import Absent, Block, Column, Fact, Facts, Grid, Prose, Section, Verbatim
from quicklook.core.results import PartResult, Provenance
from quicklook.core.status import Status
from quicklook.service.reporting.place import ReportPlace, RunUsed
from quicklook.service.reporting.words import counted, listed, ranged, spread


def calibrations_section(results: Sequence[PartResult]) -> Section:
    """The calibrations that were used, of all cameras, with their ages."""
    used: dict[tuple[object, ...], list[tuple[str, CalibrationUsed]]] = {}
    for result in results:
        for one in result.provenance.calibrations:
            used.setdefault((one.kind, one.chosen_as, one.quality, one.stale), []).append((result.part, one))
    blocks: list[Block] = []
    if used:
        columns = [
            Column(title="kind", share=1.5), Column(title="cameras", share=1.6), Column(title="age, d", kind="number", share=1.3),
            Column(title="at most, d", kind="number", share=1.2), Column(title="quality", share=1.2), Column(title="chosen as", share=1.2),
            Column(title="file", share=4), Column(title="", kind="status", share=1.6),
        ]  # fmt: skip
        blocks.append(Grid(columns=columns, rows=[_calibration_row(of) for of in used.values()]))
    elif results:
        blocks.append(Absent(text="None was used."))
    else:
        blocks.append(Absent(text="Unknown: no camera has a result that can be read."))
    return Section(title="Calibrations", blocks=blocks)


def _calibration_row(of: Sequence[tuple[str, CalibrationUsed]]) -> list[str]:
    first = of[0][1]
    ages = [one.age_days for _, one in of if one.age_days is not None]
    age = spread(ages) if ages else "not known"
    stale = [one.stale_days for _, one in of if one.stale_days is not None]
    files = list(dict.fromkeys(one.source for _, one in of))
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    status = str(Status.WARNING) if first.stale else ""
    limit = spread(stale) if stale else "not set"
    return [first.kind, ranged((p for p, _ in of), 4), age, limit, first.quality, first.chosen_as, f"{files[0]}{more}", status]


def configuration_section(provenance: Iterable[Provenance], run: RunUsed | None, facts: Sequence[Fact] = ()) -> Section:
    """By which chains, limits and site it was done, and which versions did it."""
    each = list(provenance)
    rows = list(facts)
    for name, values in (
        ("chain", [f"{p.chain}, configuration {p.config_sha256[:16]}" for p in each]),
        ("limits", [p.limits_sha256[:16] for p in each]),
    ):
        if values:
            rows.append(Fact(name=name, value=listed(values)))
    blocks: list[Block] = []
    if run is not None:
        cameras = run.setting("cameras")
        rows += [Fact(name="instrument", value=str(run.setting("instrument"))), Fact(name="run of the daemon", value=run.path.name)]
        rows.append(Fact(name="site, with every default", value=str(run.site)))
        rows += [Fact(name="cameras of the site", value=ranged(map(str, cameras), 40))] if isinstance(cameras, list) else []
        rows += [Fact(name="calibrations from", value=str(run.setting("calib") or "no folder is named"))]
    if rows:
        blocks.append(Facts(rows=rows))
    if run is None:
        blocks.append(Absent(text="The configuration of the site is not kept here: no daemon made this, or its run is gone."))
    return Section(title="Configuration", blocks=blocks)


def versions_section(provenance: Iterable[Provenance], run: RunUsed | None = None) -> Section:
    """Versions of what made the results (or, where these do not say it, of the run of the daemon), and of what made the report."""
    each = list({str(sorted(p.versions.items())): p.versions for p in provenance}.values())
    each = each or ([run.versions] if run is not None and run.versions else [])
    here = versions(("typst", "matplotlib"))
    blocks: list[Block] = []
    if not each:
        blocks.append(Absent(text="Unknown of the results: none that can be read says it."))
    names = list(dict.fromkeys(name for found in (*each, here) for name in found))
    columns = [Column(title="package", share=2), *(Column(title=_of(i, len(each)), share=2) for i in range(len(each)))]
    columns.append(Column(title="this report", share=2))
    rows = [[name, *(found.get(name, "–") for found in each), here.get(name, "–")] for name in names]
    blocks.append(Grid(columns=columns, rows=rows))
    return Section(title="Versions", blocks=blocks)


def _of(i: int, n: int) -> str:
    return "results" if n == 1 else f"results ({i + 1})"


def log_section(
    place: ReportPlace, run: RunUsed | None, words: Sequence[str], span_ns: tuple[int, int] | None = None, *, what: str = "nothing of it"
) -> Section:
    """What the log says of it, or said in a time (UTC, ns); `what` it has where it says nothing."""
    lines, left = place.log_lines(run, words, span_ns)
    blocks: list[Block] = []
    if not lines:
        where = f"{run.path} has {what}." if run is not None else "no log of a run is kept in this output folder."
        return Section(title="Log", blocks=[Absent(text=f"The log of {where}" if run is not None else f"Absent: {where}")])
    if left:
        blocks.append(Prose(paragraphs=[f"The last {len(lines)} lines; {counted(left, 'earlier line')} {'is' if left == 1 else 'are'} left out."]))
    return Section(title="Log", blocks=[*blocks, Verbatim(text="\n".join(lines))])


def rerun_section(commands: Mapping[str, Sequence[str]], run: RunUsed | None) -> Section:
    """The commands that do it again, with what each does."""
    text = "\n".join(f"# {what}\n{shlex.join(words)}" for what, words in commands.items())
    blocks: list[Block] = [Verbatim(text=text)]
    if run is None:
        blocks.append(Absent(text="The site file is not known; give --site, or instrument and folders by options."))
    return Section(title="How to do it again", blocks=blocks)
