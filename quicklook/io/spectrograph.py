"""What the description of an instrument says of the spectra on one camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from quicklook.ccd.pixeltraces import Spectrograph
from quicklook.io.instrument import Instrument

T = TypeVar("T")


def spectrograph_of(instrument: Instrument, camera: str, tags: Mapping[str, str]) -> Spectrograph:
    """The spectra on a camera. `tags` are those of the reading: values may be given by `arm`, `first_fibre` is the number of the first fibre."""
    spec, slit = instrument.spectra, instrument.apertures is not None
    fibres = spec.fibres or (instrument.apertures.count if instrument.apertures is not None else instrument.cameras.fibres) or 0
    names = (camera, tags.get("arm", ""))
    return Spectrograph(
        camera=camera,
        fibres=fibres,
        bundle=0 if slit else spec.bundle,
        slit=slit,
        first_fibre=int(tags.get("first_fibre") or 0),
        dispersion=_of(spec.dispersion, names),
        dispersion_error=spec.dispersion_error,
        centre=_of(spec.centre, names),
        centre_error=spec.centre_error,
        lamps=_of(spec.lamps, names) or (),
    )


def _of(value: T | dict[str, T] | None, names: tuple[str, ...]) -> T | None:
    """One value for all, or that of the first of the names that is listed."""
    if isinstance(value, dict):
        return next((value[n] for n in names if n in value), None)
    return value
