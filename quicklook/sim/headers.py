"""Header cards of raw exposures, as in DESI's raw data."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import NamedTuple

from quicklook.sim.faults import Fault, find_fault
from quicklook.sim.instrument import SATURATION_ADU, SimInstrument
from quicklook.sim.plan import PlannedExposure, night_start
from quicklook.sim.streams import Purpose, stream

CCD_CONFIG, CCD_TIMING = "sim.cfg", "sim_timing.txt"
TILE_RA, TILE_DEC = 180.0, 30.0
GUIDE_ERROR = 0.02
"""Relative error of the transparency that the guide cameras measure."""


class Card(NamedTuple):
    """One header card."""

    name: str
    value: str | int | float | bool
    comment: str = ""


Cards = tuple[Card, ...]


def file_name(expid: int) -> str:
    """Name of the raw file of an exposure."""
    return f"desi-{expid:08d}.fits.fz"


def primary_cards(instruments: tuple[SimInstrument, ...], planned: PlannedExposure) -> Cards:
    """Cards of the primary HDU: of the exposure, and of the spectrograph of the first camera."""
    first = instruments[0]
    cards = (
        Card("MODULE", "SIM", "source of the file"),
        Card("TELESCOP", "SIM", "simulated telescope"),
        Card("INSTRUME", "DESI", "instrument"),
        Card("SEQUENCE", "Spectrographs", "observing sequence"),
        *_exposure_cards(planned),
        *_guide_cards(first, planned),
        Card("TILEID", planned.tileid, "tile"),
        Card("TILERA", TILE_RA, "[deg] centre of the tile"),
        Card("TILEDEC", TILE_DEC, "[deg] centre of the tile"),
        *_spectrograph_cards(first),
        Card("SIMSEED", first.seed, "seed of the simulation"),
        Card("SIMSCALE", first.scale, "scale of the simulation"),
    )
    return _with_header_faults(cards, [f for f in planned.faults if f.camera is None], planned, "")


def camera_cards(instrument: SimInstrument, planned: PlannedExposure) -> Cards:
    """Cards of the extension of a camera, with what its faults do to them."""
    rows, columns = instrument.layout.raw_shape
    cards = (
        Card("CAMERA", instrument.camera, "camera"),
        *_exposure_cards(planned),
        *_spectrograph_cards(instrument),
        Card("CCDSIZE", f"{rows},{columns}", "rows, columns"),
        Card("CCDTEMP", -140.0, "[deg C] CCD temperature"),
        *_amp_cards(instrument),
        Card("INHERIT", True, "inherit cards of the primary header"),
        Card("FILENAME", file_name(planned.expid), "name of the file"),
    )
    faults = [f for f in planned.faults if f.hits(instrument.camera)]
    return _with_header_faults(cards, faults, planned, instrument.amp_names)


def _exposure_cards(planned: PlannedExposure) -> Cards:
    start = planned.start.astimezone(UTC)
    date = start.strftime("%Y-%m-%dT%H:%M:%S.") + f"{start.microsecond // 1000:03d}"
    mjd = (start - night_start(18581117)).total_seconds() / 86400.0
    return (
        Card("EXPID", planned.expid, "exposure number"),
        Card("NIGHT", planned.night, "date of the evening, YYYYMMDD"),
        Card("FLAVOR", planned.flavor, "kind of exposure"),
        Card("OBSTYPE", planned.obstype, "kind of exposure"),
        Card("PROGRAM", planned.program, "program name"),
        Card("EXPTIME", planned.exptime, "[s] exposure time"),
        Card("DATE-OBS", date, "[UTC] start of the exposure"),
        Card("MJD-OBS", mjd, "[d] start of the exposure"),
        Card("AIRMASS", planned.airmass, "airmass"),
        Card("SEEING", planned.seeing, "[arcsec] seeing"),
    )


def _guide_cards(instrument: SimInstrument, planned: PlannedExposure) -> Cards:
    """What the guide cameras say of the sky, to some hundredths, in a science exposure: they do not look through the spectrographs."""
    if planned.flavor != "science":
        return ()
    error = stream(instrument.seed, Purpose.GUIDE, planned.expid).normal(0.0, GUIDE_ERROR)
    return (Card("ETCTRANS", round(max(planned.transparency * (1.0 + float(error)), 0.0), 4), "transparency, from guide stars"),)


def _spectrograph_cards(instrument: SimInstrument) -> Cards:
    return (
        Card("DETECTOR", instrument.detector, "CCD"),
        Card("SPECID", instrument.specid, "serial number of the spectrograph"),
        Card("SPECGRPH", instrument.spectrograph, "place of the spectrograph"),
        Card("CCDCFG", CCD_CONFIG, "configuration of the CCD controller"),
        Card("CCDTMING", CCD_TIMING, "timing of the CCD controller"),
        Card("DOSVER", "SIM", "version of the control software"),
        Card("FEEVER", "SIM", "version of the front-end electronics"),
    )


def _amp_cards(instrument: SimInstrument) -> Cards:
    cards: list[Card] = []
    for name, amp in zip(instrument.amp_names, instrument.layout.amps, strict=True):
        sections = {"PRESEC": amp.prescan, "DATASEC": amp.data, "TRIMSEC": amp.data, "BIASSEC": amp.overscan}
        sections |= {"ORSEC": amp.row_overscan, "CCDSEC": amp.ccd, "DETSEC": amp.ccd}
        cards += [Card(key + name, section.card) for key, section in sections.items()]
        cards += [
            Card("GAIN" + name, instrument.hardware.gain[amp.index], "e/ADU"),
            Card("RDNOISE" + name, instrument.hardware.rdnoise[amp.index], "electrons"),
            Card("SATURLEV" + name, SATURATION_ADU, "ADU"),
        ]
    return tuple(cards)


def _with_header_faults(cards: Cards, faults: list[Fault], planned: PlannedExposure, amp_names: str) -> Cards:
    late = find_fault(faults, "wrong_night")
    if late is not None:
        night = _night_after(planned.night, late.value)
        cards = tuple(card._replace(value=night) if card.name == "NIGHT" else card for card in cards)
    missing = find_fault(faults, "missing_keywords")
    if missing is not None:
        amp = amp_names[missing.amp_index] if amp_names else ""
        gone = missing.keys or ("EXPTIME", "FLAVOR", "GAIN" + amp, "BIASSEC" + amp)
        cards = tuple(card for card in cards if card.name not in gone)
    return cards


def _night_after(night: int, days: float) -> int:
    return int((night_start(night) + timedelta(days=days)).strftime("%Y%m%d"))
