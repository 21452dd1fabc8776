"""`quicklook report`: an exposure, a test or a night on paper, as pictures of pages, or as HTML; and the index that opens without a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import OutOption, SiteOption, TagOption

if TYPE_CHECKING:
    from quicklook.core.reporting import ReportDocument, Reporter
    from quicklook.service.reporting.place import ReportPlace

_SUFFIXES = {".pdf": "pdf", ".html": "html", ".htm": "html", ".png": "png"}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("report")(report)


def report(
    exposure: Annotated[str | None, typer.Argument(metavar="[EXPID]", help="[NIGHT/]EXPID, as in 20220101/102.")] = None,
    test: Annotated[str | None, typer.Option("--test", metavar="NAME", help="This test, of the last run that has it; or RUN/NAME.")] = None,
    night: Annotated[str | None, typer.Option("--night", metavar="N", help="This night, YYYYMMDD.")] = None,
    formats: Annotated[str, typer.Option("--format", help="pdf, png (a picture of every page), html; several with commas. Default: pdf.")] = "",
    to: Annotated[Path | None, typer.Option("--to", help="File (its ending says the format) or folder; default: beside the results.")] = None,
    plots: Annotated[int, typer.Option("--plots", min=0, max=1000, help="At most so many plots, what is not NORMAL first.")] = 24,
    index: Annotated[bool, typer.Option("--index", help="Make the index anew: all pages of the tag that open without a daemon.")] = False,
    site: SiteOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Report of an exposure, a test or a night: verdict and why, metrics with limits, plots, housekeeping, calibrations, log, versions.

    From stored results; nothing is measured again, and what is not there is said to be absent. Exit status: that of the verdict (0 NORMAL, WARNING,
    1 ALARM, 3 UNKNOWN), 2 if there is no such result.
    """
    from quicklook.cli.options import place_of
    from quicklook.core.errors import BadConfig
    from quicklook.core.reporting import reporter
    from quicklook.core.status import EXIT_STATUS
    from quicklook.service.reporting.making import check_formats, write_report
    from quicklook.service.reporting.place import ReportPlace

    if sum(x is not None for x in (exposure, test, night)) != (0 if index else 1):
        raise BadConfig("name one thing: EXPID, --test NAME, --night N, or --index", what_next="As in: quicklook report 102")
    if to is not None and to.suffix and to.suffix.lower() not in _SUFFIXES and not to.is_dir():
        raise BadConfig(f"--to {to}: no format has this ending", what_next=f"Endings are {', '.join(_SUFFIXES)}; or name a folder that is there.")
    folder, of_site = place_of(site, out)
    place, made = ReportPlace(folder.absolute(), tag or of_site), reporter()
    try:
        if index:
            _index(made, place)
            return
        wanted = check_formats([f.strip() for f in formats.split(",") if f.strip()] or [_format_of(to)])
        document, home = _document(made, place, exposure, test, night, plots)
    finally:
        place.close()
    named = to is not None and to.suffix.lower() in _SUFFIXES and not to.is_dir()
    where = (to.parent if named else to) if to is not None else home
    for file in write_report(made, document, where, wanted, to.stem if named and to is not None else ""):
        typer.echo(f"{file.path}  ({file.size / 1e6:.2f} MB, {file.seconds:.2f} s)")
    raise typer.Exit(EXIT_STATUS[document.status] if document.status is not None else 0)


def _format_of(to: Path | None) -> str:
    return _SUFFIXES.get(to.suffix.lower(), "pdf") if to is not None else "pdf"


def _document(
    made: Reporter, place: ReportPlace, exposure: str | None, test: str | None, night: str | None, plots: int
) -> tuple[ReportDocument, Path]:
    """The document that is asked for, and where its files lie by default. Raises BadConfig, BadData."""
    from quicklook.core.errors import BadConfig
    from quicklook.core.history import is_night
    from quicklook.io.folders import exposure_folder
    from quicklook.io.history import FileHistory
    from quicklook.service.reporting.exposures import exposure_report
    from quicklook.service.reporting.nights import night_folder, night_report
    from quicklook.service.reporting.tested import find_test, report_of_test
    from quicklook.service.verdicts.explain import find_unit

    if test is not None:
        return report_of_test(place, test, most_plots=plots), find_test(place.out, test)
    if night is not None:
        if not is_night(night):
            raise BadConfig(f"--night {night}: write a night as YYYYMMDD")
        return night_report(place, int(night), picture=made.picture), night_folder(place, int(night))
    unit = find_unit(FileHistory(place.out), place.tag, exposure or "")
    return exposure_report(place, unit, most_plots=plots, draw=True), exposure_folder(place.out, place.tag, unit)


def _index(made: Reporter, place: ReportPlace) -> None:
    from quicklook.core.errors import BadData
    from quicklook.service.reporting.index import PAGE, write_all

    count = write_all(made, place)
    if not count:
        what_next = "Check the output folder (--out or --site) and the tag (--tag)."
        raise BadData(f"there is no verdict under tag {place.tag!r} in {place.out}", what_next=what_next)
    typer.echo(f"{place.out / PAGE}: {count} exposure{'' if count == 1 else 's'} under tag {place.tag}")
