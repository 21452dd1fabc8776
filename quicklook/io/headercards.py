"""Cards that every product file has."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np

from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import HeaderValue
from quicklook.core.calibration import CalibrationUsed
from quicklook.core.provenance import versions
from quicklook.io.fitswrite import Card, cards_of

MOST_ALTERNATIVES = 5
"""So many other calibrations are named in a header; the QA file has all."""


def exposure_cards(exposure: Exposure, camera: str) -> list[Card]:
    """The cards of every product: camera, exposure, pointing. What is not known is left out."""
    start = exposure.start
    values: dict[str, HeaderValue] = {
        "CAMERA": camera,
        "EXPID": exposure.unit.expid,
        "NIGHT": exposure.unit.night,
        "FLAVOR": exposure.flavor,
        "PROGRAM": exposure.program or None,
        "EXPTIME": exposure.exptime if np.isfinite(exposure.exptime) else None,
        "DATE-OBS": None if start is None else start.replace(tzinfo=None).isoformat(timespec="milliseconds"),
        "INSTRUME": exposure.instrument,
        "OBJECT": exposure.object or None,
        "AIRMASS": exposure.airmass,
        "SEEING": exposure.seeing,
        "TARGTRA": exposure.ra_deg,
        "TARGTDEC": exposure.dec_deg,
    }
    return cards_of(values)


def provenance_cards(calibrations: tuple[CalibrationUsed, ...] = (), config_hash: str = "") -> dict[str, HeaderValue]:
    """Cards on the versions, the configuration and the calibrations that a product was made with.

    DEPNAMnn, DEPVERnn, CONFHASH; of each calibration CALKNDnn, CALSRCnn (path), CALAGEnn (d), CALQLTnn (quality), CALFRMnn and CALENDnn (first and
    last night of validity), CALNGTnn (night in which it was made), CALHOWnn (night, valid, default), CALALTnn (names of what else was possible).
    """
    cards: dict[str, HeaderValue] = {}
    for i, (name, version) in enumerate(versions().items()):
        cards |= {f"DEPNAM{i:02d}": name, f"DEPVER{i:02d}": version}
    if config_hash:
        cards["CONFHASH"] = config_hash
    for i, used in enumerate(calibrations):
        cards |= {f"{key}{i:02d}": value for key, value in _calibration_values(used).items() if value not in (None, "")}
    return cards


def _calibration_values(used: CalibrationUsed) -> dict[str, HeaderValue]:
    names = [PurePath(path).name for path in used.alternatives]
    more = f", and {len(names) - MOST_ALTERNATIVES} more" if len(names) > MOST_ALTERNATIVES else ""
    return {
        "CALKND": used.kind, "CALSRC": used.source, "CALAGE": used.age_days, "CALQLT": used.quality, "CALFRM": used.valid_from,
        "CALEND": used.valid_to, "CALNGT": used.night, "CALHOW": used.chosen_as, "CALALT": ", ".join(names[:MOST_ALTERNATIVES]) + more,
    }  # fmt: skip
