"""`quicklook show`: frames in a running DS9."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import InstrumentOption, OutOption, RawOption, SiteOption, TagOption

if TYPE_CHECKING:
    from quicklook.ccd.arrays import Raw
    from quicklook.core.keys import Unit
    from quicklook.service.site import Site

_MOST = 60
"""So many images at once are a mistake: each is a frame of DS9 with some 30 MB."""
_IMAGE_HDUS = {"preproc": "IMAGE", "frame": "FLUX", "cframe": "FLUX", "sky": "SKY"}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("show")(show)


def show(
    exposure: Annotated[str, typer.Argument(help="[NIGHT/]EXPID.")],
    last: Annotated[str, typer.Argument(metavar="[EXPID2]", help="The last exposure of a range, of the same night.")] = "",
    camera: Annotated[list[str] | None, typer.Option("--camera", help="Camera; may be repeated. Default: all of the file.")] = None,
    product: Annotated[str, typer.Option(help=f"raw, or a product: {', '.join(_IMAGE_HDUS)}.")] = "raw",
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

    if product != "raw" and product not in _IMAGE_HDUS:
        raise BadConfig(f"there is no image {product!r}; there are: raw, {', '.join(_IMAGE_HDUS)}")
    described = site_of(site, instrument=instrument, raw=raw, out=out, tag=tag)
    viewer = Ds9(ds9)
    images = _raw(described, exposure, last, camera or []) if product == "raw" else _products(described, exposure, last, camera or [], product)
    for number, (name, pixels) in enumerate(images):
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


def _raw(site: Site, exposure: str, last: str, cameras: list[str]) -> Iterator[tuple[str, Raw]]:
    from quicklook.ccd.image import RawImage
    from quicklook.core.errors import BadData
    from quicklook.io.reader import open_reader

    reader = open_reader(site.instrument)
    night, numbers = _numbers(exposure, last)
    found = 0
    for expid in numbers:
        for path in reader.locate(site.raw, expid, night):
            peek = reader.peek(path)
            for camera in (c for c in peek.cameras if not cameras or c in cameras):
                raw = next(p for p in reader.read(path, camera).products if isinstance(p, RawImage))
                found += 1
                yield f"{camera}-{peek.unit.expid:08d}", raw.pixels
    if not found:
        of = f" of {', '.join(cameras)}" if cameras else ""
        said = f"there is no raw frame of {exposure} {last}".strip()
        raise BadData(f"{said}{of} under {site.raw}", what_next="Check numbers, cameras, raw folder.")


def _products(site: Site, exposure: str, last: str, cameras: list[str], product: str) -> Iterator[tuple[str, Raw]]:
    from quicklook.core.errors import BadData
    from quicklook.io.folders import exposure_folder
    from quicklook.io.hdus import Hdus

    found = 0
    for unit in _units(site, *_numbers(exposure, last)):
        ending = f"-{unit.expid:08d}.fits"
        for path in sorted(exposure_folder(site.out, site.file.tag, unit).glob(f"{product}-*{ending}")):
            camera = path.name.removeprefix(f"{product}-").removesuffix(ending)
            if not cameras or camera in cameras:
                found += 1
                yield f"{product}-{camera}-{unit.expid:08d}", Hdus(path).array(_IMAGE_HDUS[product], "f4")
    if not found:
        kept = "Have it stored (products of the chain or of the site), then run the exposure again."
        raise BadData(f"no {product} of {exposure} {last}".strip() + f" is stored under {site.out}/{site.file.tag}", what_next=kept)


def _units(site: Site, night: int | None, numbers: range) -> Iterator[Unit]:
    from quicklook.core.history import Selection
    from quicklook.io.history import FileHistory

    wanted = Selection(tag=site.file.tag, first_night=night, last_night=night, newest_first=False)
    return (u for u in FileHistory(site.out).units(wanted) if u.expid in numbers)
