"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.service.site import Site

_WIDE = 200


def words_of(texts: Sequence[str] | None) -> list[str]:
    """The words of an option that may be repeated, and takes several with commas between them: each once, in order."""
    return list(dict.fromkeys(word.strip() for text in texts or () for word in text.split(",") if word.strip()))


def one_of(texts: Sequence[str] | None, option: str, otherwise: str = "") -> str:
    """The only word of an option that takes one. Raises BadConfig for several, of which otherwise the last would be taken in silence."""
    from quicklook.core.errors import BadConfig

    words = words_of(texts)
    if len(words) > 1:
        raise BadConfig(f"{option} {','.join(words)}: one, please")
    return words[0] if words else otherwise


SiteOption = Annotated[Path | None, typer.Option("--site", envvar="QUICKLOOK_SITE", help="Site file.", dir_okay=False)]
InstrumentOption = Annotated[str | None, typer.Option("--instrument", help="Instrument: a name (see `list instruments`) or a file.")]
CalibOption = Annotated[Path | None, typer.Option("--calib", help="Folder of calibrations.", file_okay=False)]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder for everything that is written.", file_okay=False)]
# click looks at what has `file_okay=False`, without an end where a mount hangs; the daemon looks with patience
RawOption = Annotated[Path | None, typer.Option("--raw", metavar="<dir>", help="Folder in which exposures appear.")]
TagOption = Annotated[str | None, typer.Option("--tag", help="Name of this processing.")]
SetOption = Annotated[list[str] | None, typer.Option("-c", "--set", metavar="STEP.PARAM=VALUE", help="Set a parameter; may be repeated.")]
BadAmpsOption = Annotated[str | None, typer.Option("--badamps", help="Amplifiers known to be bad, such as b7D,z8A: masked, not judged.")]
CamerasOption = Annotated[
    list[str] | None, typer.Option("--camera", help="Cameras: b0,r0; may be repeated. Default: all that there are.", callback=words_of)
]
OneCameraOption = Annotated[list[str] | None, typer.Option("--camera", help="Camera.")]
GoalOption = Annotated[list[str] | None, typer.Option("--goal", metavar="NAME=VALUE", help="What an exposure is to reach, as in efftime=900.")]


def goals_of(texts: list[str] | None) -> dict[str, float]:
    """Goals by name. Raises BadConfig for a text that is no NAME=VALUE."""
    from quicklook.core.errors import BadConfig

    out = {}
    for text in texts or []:
        name, _, value = text.partition("=")
        try:
            out[name.strip()] = float(value)
        except ValueError as error:
            raise BadConfig(f"--goal {text}: write NAME=VALUE, as in --goal efftime=900") from error
    return out


def site_of(site: Path | None, sets: list[str] | None = None, badamps: str | None = None, **options: Any) -> Site:
    """The site that the options describe. Raises BadConfig."""
    from quicklook.service.site import load_site

    given = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
    return load_site(site, options={**given, "badamps": badamps or None}, overrides=sets or [])


def place_of(site: Path | None, out: Path | None) -> tuple[Path, str]:
    """Output folder and tag, for what works on results alone and needs no instrument. Raises BadConfig."""
    from quicklook.service.site import load_site

    if site is None:
        return out or Path("quicklook-out"), "live"
    described = load_site(site, options={"out": str(out)} if out else {})
    return described.out, described.file.tag


def wide_console() -> Console:
    """For tables: as wide as the terminal; where the output goes elsewhere (a file, a pipe), as wide as they are, so that nothing is cut."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDE)
