"""`quicklook show`: frames in a running DS9."""

from __future__ import annotations

from typing import Annotated

import typer

from quicklook.cli.options import CamerasOption, InstrumentOption, OutOption, RawOption, SiteOption, TagOption

_MOST = 60
"""So many images at once are a mistake: each is a frame of DS9 with some 30 MB."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("show")(show)


def show(
    exposure: Annotated[str, typer.Argument(help="[NIGHT/]EXPID.")],
    last: Annotated[str, typer.Argument(metavar="[EXPID2]", help="The last exposure of a range, of the same night.")] = "",
    camera: CamerasOption = None,
    product: Annotated[str, typer.Option(help="raw, or a product: preproc, frame, cframe, sky.")] = "raw",
    ds9: Annotated[str, typer.Option("--ds9", help="Which DS9: its title (`ds9 -title NAME`), or HOST:PORT.")] = "ds9",
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    raw: RawOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Send a frame, or a range of frames, to a DS9 that runs: each camera of each exposure is a frame of its own."""
    from quicklook.cli.options import site_of
    from quicklook.core.errors import BadConfig
    from quicklook.io.ds9 import Ds9
    from quicklook.service.hosting.shown import IMAGE_HDUS, RAW, images

    if product != RAW and product not in IMAGE_HDUS:
        raise BadConfig(f"there is no image {product!r}; there are: {RAW}, {', '.join(IMAGE_HDUS)}")
    described = site_of(site, instrument=instrument, raw=raw, out=out, tag=tag)
    viewer = Ds9(ds9)
    for number, (name, pixels) in enumerate(images(described, product, *_numbers(exposure, last), camera or [])):
        if number == _MOST:
            raise BadConfig(f"there are more than {_MOST} images; {_MOST} are shown", what_next="Choose cameras, or a shorter range.")
        viewer.show(name, pixels)
        typer.echo(f"{name}: {pixels.shape[1]} x {pixels.shape[0]}")


def _numbers(exposure: str, last: str) -> tuple[int | None, range]:
    """The night, where it is given, and the numbers. Raises BadConfig."""
    from quicklook.core.errors import BadConfig

    night, _, first = exposure.rpartition("/")
    night_of_last, _, end = (last or exposure).rpartition("/")
    if not all(text.isdecimal() and len(text) <= 18 for text in (night or "0", first, end)) or night_of_last not in ("", night):
        what_next = "Write [NIGHT/]EXPID, and the last number of a range of the same night behind it."
        raise BadConfig(f"{exposure} {last}".strip() + " names no exposures", what_next=what_next)
    if int(end) < int(first):
        raise BadConfig(f"the range {first} to {end} is the wrong way round; write the smaller number first")
    return int(night) if night else None, range(int(first), int(end) + 1)
