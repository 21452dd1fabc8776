"""Spectra of standard stars and the extinction of the atmosphere on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.stars import Extinction, StdStars
from quicklook.core.errors import BadData
from quicklook.io.hdus import Hdus
from quicklook.io.tablefile import read_table

_UNIT = 1e17
"""Units of 1e-17 erg/(s cm2 Angstrom) in one erg/(s cm2 Angstrom)."""
_FLAM = re.compile(r"flam|erg.*(angstrom|/a\b)", re.IGNORECASE)
_SCALED = re.compile(r"(?:10\*\*|10\^|1e|10)\s*\(?([+-]\d+)\)?", re.IGNORECASE)


def read_stdstars(path: str | Path) -> StdStars:
    """Standard stars from a file of CALSPEC (table with WAVELENGTH, vacuum Angstrom, and FLUX, erg/(s cm2 Angstrom)) or of the DESI data model
    (stdstars: HDUs WAVELENGTH, FLUX [nstar, nwave], FIBERS). Raises BadData: neither of them, no finite flux, another unit than flux per Angstrom.
    """
    hdus = Hdus(path)
    if hdus.has("FIBERS") and hdus.has("FLUX") and hdus.has("WAVELENGTH"):
        flux, wave = hdus.array("FLUX", np.float64), hdus.array("WAVELENGTH", np.float64, ndim=(1,))
        scale = _scale(str(hdus.card("BUNIT", "FLUX") or "10**-17 erg/(s cm2 Angstrom)"), hdus.path.name)
        return _stars(wave, flux * scale, np.asarray(hdus.array("FIBERS", np.int32, ndim=(1,))), ())
    table, unit = _table(hdus, ("FLUX",))
    name = str(hdus.card("TARGETID", 0) or hdus.card("OBJECT", 0) or "").strip()
    return _stars(table["WAVELENGTH"].astype(np.float64), table["FLUX"].astype(np.float64)[None] * _scale(unit, hdus.path.name), None, (name,))


def _stars(wave: Float64, flux: Float64, fiber: Raw | None, names: tuple[str, ...]) -> StdStars:
    good = np.isfinite(wave) & np.isfinite(flux).all(axis=0)
    if good.sum() < 2 or not (flux[:, good] > 0).any():
        raise BadData("it holds no spectrum with light")
    order = np.argsort(wave[good], kind="stable")
    wave, flux = wave[good][order], flux[:, good][:, order]
    single = np.concatenate([[True], np.diff(wave) > 0])
    return StdStars(wave=np.ascontiguousarray(wave[single]), flux=np.ascontiguousarray(flux[:, single]), fiber=fiber, names=names)


def _scale(unit: str, name: str) -> float:
    """Units of 1e-17 erg/(s cm2 Angstrom) in the unit. Raises BadData."""
    if not _FLAM.search(unit):
        raise BadData(f"{name}: its flux is in {unit!r}; it must be erg/(s cm2 Angstrom), or a power of ten of it")
    power = _SCALED.search(unit.split("erg", maxsplit=1)[0])
    return _UNIT * 10.0 ** int(power[1]) if power else _UNIT


def _table(hdus: Hdus, columns: tuple[str, ...]) -> tuple[dict[str, Raw], str]:
    """The first table with a column WAVELENGTH and these, and the unit of the first of them. Raises BadData."""
    for info in hdus.structure.hdus:
        if info.kind != "table":
            continue
        table = read_table(hdus.path, info.index)
        if "WAVELENGTH" in table and all(c in table for c in columns):
            _check_wave_unit(info.header, hdus.path.name)
            return table, str(_unit_of(info.header, columns[0]) or "FLAM").strip()
    raise BadData(f"{hdus.path.name} holds no table with WAVELENGTH and {', '.join(columns)}; its HDUs are {', '.join(hdus.structure.names)}")


def _check_wave_unit(header: Mapping[str, object], name: str) -> None:
    unit = str(_unit_of(header, "WAVELENGTH") or "Angstrom").strip().lower()
    if not unit.startswith("a"):
        raise BadData(f"{name}: its wavelengths are in {unit}; they must be vacuum Angstrom")


def _unit_of(header: Mapping[str, object], column: str) -> object:
    for k in range(1, 1000):
        title = header.get(f"TTYPE{k}")
        if title is None:
            return None
        if str(title).strip().upper() == column:
            return header.get(f"TUNIT{k}")
    return None


def read_extinction(path: str | Path) -> Extinction:
    """Extinction at the zenith, magnitude per airmass: a FITS table with WAVELENGTH (Angstrom) and EXTINCTION, or a text file of these two columns.

    Negative values, which a table may have where extinction is small, count as 0. Raises BadData.
    """
    path = Path(path)
    if path.suffix in (".txt", ".dat", ".ascii"):
        wave, magnitude = _two_columns(path)
    else:
        table, _ = _table(Hdus(path), ("EXTINCTION",))
        wave, magnitude = table["WAVELENGTH"].astype(np.float64), table["EXTINCTION"].astype(np.float64)
    good = np.isfinite(wave) & np.isfinite(magnitude)
    if good.sum() < 2:
        raise BadData(f"{path.name} holds no extinction")
    if not float(np.median(magnitude[good])) < 10:
        raise BadData(f"{path.name}: a median extinction of {float(np.median(magnitude[good])):.3g} is no magnitude per airmass")
    order = np.argsort(wave[good], kind="stable")
    wave, magnitude = wave[good][order], np.clip(magnitude[good][order], 0.0, None)
    single = np.concatenate([[True], np.diff(wave) > 0])
    return Extinction(wave=np.ascontiguousarray(wave[single]), magnitude=np.ascontiguousarray(magnitude[single]))


def _two_columns(path: Path) -> tuple[Float64, Float64]:
    try:
        rows = [line.split("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines()]
        numbers = np.array([[float(r[0]), float(r[1])] for r in rows if r], np.float64)
    except (UnicodeDecodeError, ValueError, IndexError) as error:
        raise BadData(f"{path.name}: is no table of two columns of numbers: {error}") from error
    if not numbers.size:
        raise BadData(f"{path.name} is empty")
    return numbers[:, 0].copy(), numbers[:, 1].copy()
