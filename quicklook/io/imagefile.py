"""What of a preprocessed image is no picture: the table AMPLIFIERS of its file; and the image read back."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.image import Image, RawImage
from quicklook.core.errors import BadData
from quicklook.io.hdus import Hdus
from quicklook.io.tablefile import write_table_hdu

_HDU = "AMPLIFIERS"
_LIVING = "-"
_MEASURED = {"READNOISE": "read_noise", "OVERSCAN": "overscan_level", "NOISEVAR": "noise_variance"}
_UNITS = {"READNOISE": "electron", "OVERSCAN": "adu", "NOISEVAR": "electron**2"}


def put_amplifiers(f: BinaryIO, image: Image) -> None:
    """Append AMPLIFIERS: NAME, READNOISE, OVERSCAN, NOISEVAR (NaN where they are not known), DEAD (why an amplifier is dead, "-" of a living one)."""
    names = [a.name for a in image.amplifiers]
    columns = {"NAME": np.array(names)}
    columns |= {key: np.array([getattr(image, what).get(n, math.nan) for n in names], np.float64) for key, what in _MEASURED.items()}
    columns["DEAD"] = np.array([image.dead.get(n, _LIVING) for n in names])
    write_table_hdu(f, columns, name=_HDU, units=_UNITS)


def read_preproc(path: str | Path, raw: RawImage) -> Image:
    """A preprocessed image as `write_preproc` writes it; `raw` is the frame that it was made from, which knows the places of its amplifiers.

    Raises BadData (not of that frame, no AMPLIFIERS) and as `quicklook.io.fitsfile.inspect`.
    """
    hdus = Hdus(path)
    if not hdus.has(_HDU):
        raise BadData(f"{hdus.path.name} has no table {_HDU}, as an earlier version has written it; run the exposure again")
    head = hdus.header("IMAGE")
    applied = tuple(str(head[k]) for k in sorted(head) if re.fullmatch(r"APPLD\d\d", k))
    skipped = dict(str(head[k]).split(": ", 1) for k in sorted(head) if re.fullmatch(r"SKIPD\d\d", k) and ": " in str(head[k]))
    amplifiers = (raw.oriented() if "orientation" in applied else raw).amplifiers
    table = hdus.table(_HDU)
    names = [str(n).strip() for n in table["NAME"]]
    if names != [a.name for a in amplifiers]:
        raise BadData(f"{hdus.path.name} has amplifiers {', '.join(names)}, the raw frame {', '.join(a.name for a in amplifiers)}")
    measured = {what: _known(names, table[key]) for key, what in _MEASURED.items()}
    return Image(
        camera=raw.camera,
        pixels=hdus.array("IMAGE", np.float32),
        ivar=hdus.array("IVAR", np.float32),
        mask=hdus.array("MASK", np.uint16),
        amplifiers=amplifiers,
        dead={n: str(why).strip() for n, why in zip(names, table["DEAD"], strict=True) if str(why).strip() != _LIVING},
        applied=applied,
        skipped=skipped,
        **measured,
    )


def _known(names: list[str], values: Raw) -> dict[str, float]:
    """By name; all of them where any is known: one that could not be measured is NaN then, as it was."""
    return {n: float(v) for n, v in zip(names, values, strict=True)} if np.isfinite(values).any() else {}
