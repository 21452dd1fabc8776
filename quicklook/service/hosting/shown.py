"""Frames of exposures as images, raw or of a product, one after the other: what is sent to a viewer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from quicklook.ccd.arrays import Raw
from quicklook.ccd.image import RawImage
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.history import Selection
from quicklook.io.folders import exposure_folder
from quicklook.io.hdus import Hdus
from quicklook.io.history import FileHistory
from quicklook.io.reader import open_reader
from quicklook.service.site import Site

IMAGE_HDUS: Mapping[str, str] = {"preproc": "IMAGE", "frame": "FLUX", "cframe": "FLUX", "sky": "SKY"}
"""Products that are images, and where in their files."""
RAW = "raw"


def images(
    site: Site, product: str, night: int | None, numbers: Sequence[int], cameras: Sequence[str], tag: str = ""
) -> Iterator[tuple[str, Raw]]:
    """Name and pixels [ny, nx] of frames (`cameras` empty: all; products of `tag`, or else of the live one).

    Raises BadConfig for no image, BadData where there is none of these exposures.
    """
    tag = tag or site.file.tag
    if product != RAW and product not in IMAGE_HDUS:
        raise BadConfig(f"there is no image {product!r}; there are: {RAW}, {', '.join(IMAGE_HDUS)}")
    found = 0
    for one in _raw(site, night, numbers, cameras) if product == RAW else _products(site, night, numbers, cameras, product, tag):
        found += 1
        yield one
    if not found:
        which = " to ".join(str(n) for n in dict.fromkeys((numbers[0], numbers[-1])))
        of = f"{which} of {', '.join(cameras)}" if cameras else which
        if product == RAW:
            raise BadData(f"there is no raw frame of {of} under {site.raw}", what_next="Check numbers, cameras, raw folder.")
        kept = "Have it stored (products of the chain or of the site), then run the exposure again."
        raise BadData(f"no {product} of {of} is stored under {site.out}/{tag}", what_next=kept)


def _raw(site: Site, night: int | None, numbers: Sequence[int], cameras: Sequence[str]) -> Iterator[tuple[str, Raw]]:
    reader = open_reader(site.instrument)
    for expid in numbers:
        for path in reader.locate(site.raw, expid, night):
            peek = reader.peek(path)
            for camera in (c for c in peek.cameras if not cameras or c in cameras):
                raw = next(p for p in reader.read(path, camera).products if isinstance(p, RawImage))
                yield f"{camera}-{peek.unit.expid:08d}", raw.pixels


def _products(
    site: Site, night: int | None, numbers: Sequence[int], cameras: Sequence[str], product: str, tag: str
) -> Iterator[tuple[str, Raw]]:
    wanted = Selection(tag=tag, first_night=night, last_night=night, newest_first=False)
    for unit in (u for u in FileHistory(site.out).units(wanted) if u.expid in numbers):
        ending = f"-{unit.expid:08d}.fits"
        for path in sorted(exposure_folder(site.out, tag, unit).glob(f"{product}-*{ending}")):
            camera = path.name.removeprefix(f"{product}-").removesuffix(ending)
            if not cameras or camera in cameras:
                yield f"{product}-{camera}-{unit.expid:08d}", Hdus(path).array(IMAGE_HDUS[product], "f4")
