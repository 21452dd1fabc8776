"""Co-added spectra on disk: the HDUs of a frame in the DESI data model, and tables of the exposures, of the fibres and of the sky over the night."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from quicklook.ccd.coadd import Coadd
from quicklook.core.errors import BadData
from quicklook.io.fibermap import put_fibermap
from quicklook.io.fitswrite import Card, write_image_hdu
from quicklook.io.hdus import Hdus
from quicklook.io.spectrafile import fibermap_of
from quicklook.io.tablefile import write_table_hdu


def put_coadd(f: BinaryIO, coadd: Coadd, cards: list[Card]) -> None:
    """Write FLUX, IVAR (float32), MASK (int32), WAVELENGTH (float64) [nfibre, nwave], FIBERMAP; FIBERS (FIBER, NEXP, CHI2); EXPOSURES (NIGHT, EXPID,
    EXPTIME s, HOURS since the first); SNR1, SNRSUM [nexp, nfibre]; SKYWAVE [nwindow] Angstrom, SKYRATE [nexp, nwindow] electron/(s Angstrom)."""
    head: list[Card] = [("BUNIT", coadd.unit), ("NEXP", len(coadd.expid)), ("REJECTED", float(coadd.rejected), "part of the samples left out")]
    write_image_hdu(f, coadd.flux, name="FLUX", cards=[*head, *_camera(coadd, cards), *cards], primary=True)
    write_image_hdu(f, coadd.ivar, name="IVAR", cards=[("BUNIT", f"1/({coadd.unit})**2")])
    write_image_hdu(f, coadd.mask, name="MASK")
    write_image_hdu(f, coadd.wave, name="WAVELENGTH", cards=[("BUNIT", "Angstrom")])
    put_fibermap(f, coadd.fibermap)
    fibers = {"FIBER": np.asarray(coadd.fibermap.fiber, np.int32), "NEXP": coadd.used, "CHI2": coadd.chi2}
    write_table_hdu(f, fibers, name="FIBERS")
    exposures = {"NIGHT": coadd.night, "EXPID": coadd.expid, "EXPTIME": coadd.exptime, "HOURS": coadd.hours}
    write_table_hdu(f, exposures, name="EXPOSURES", units={"EXPTIME": "s", "HOURS": "h"})
    write_image_hdu(f, coadd.snr_single, name="SNR1")
    write_image_hdu(f, coadd.snr_after, name="SNRSUM")
    write_image_hdu(f, coadd.sky_wave, name="SKYWAVE", cards=[("BUNIT", "Angstrom")])
    write_image_hdu(f, coadd.sky, name="SKYRATE", cards=[("BUNIT", "electron/(s Angstrom)")])


def _camera(coadd: Coadd, cards: list[Card]) -> list[Card]:
    return [] if any(c[0] == "CAMERA" for c in cards) else [("CAMERA", coadd.camera)]


def read_coadd(path: Path) -> Coadd:
    """As `put_coadd` writes it. Raises BadData, and as `quicklook.io.fitsfile.inspect`."""
    hdus = Hdus(path)
    exposures, fibers = hdus.table("EXPOSURES"), hdus.table("FIBERS")
    lacking = {"NIGHT", "EXPID", "EXPTIME", "HOURS"} - set(exposures) | {"NEXP", "CHI2"} - set(fibers)
    if lacking:
        raise BadData(f"{path.name}: the tables EXPOSURES and FIBERS have no {', '.join(sorted(lacking))}")
    flux = hdus.array("FLUX", np.float32)
    rejected = hdus.card("REJECTED", "FLUX", 0)
    return Coadd(
        camera=str(hdus.card("CAMERA", "FLUX", 0) or "").strip().lower(), unit=str(hdus.card("BUNIT", "FLUX", 0) or ""),
        flux=flux, ivar=hdus.array("IVAR", np.float32), mask=hdus.array("MASK", np.uint32), wave=hdus.array("WAVELENGTH", np.float64),
        fibermap=fibermap_of(hdus, len(flux)), used=np.asarray(fibers["NEXP"], np.int32), chi2=np.asarray(fibers["CHI2"], np.float32),
        night=np.asarray(exposures["NIGHT"], np.int64), expid=np.asarray(exposures["EXPID"], np.int64),
        exptime=np.asarray(exposures["EXPTIME"], np.float64), hours=np.asarray(exposures["HOURS"], np.float64),
        snr_single=hdus.array("SNR1", np.float32), snr_after=hdus.array("SNRSUM", np.float32),
        sky_wave=hdus.array("SKYWAVE", np.float64, ndim=(1,)), sky=hdus.array("SKYRATE", np.float64),
        rejected=float(rejected) if isinstance(rejected, int | float) else 0.0,
    )  # fmt: skip
