"""Stored spectra of a test: which are added up together, and what is known of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quicklook.ccd.coadd import SkyLevels
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import BadData
from quicklook.core.keys import Unit
from quicklook.core.status import Status
from quicklook.io.folders import exposure_folder
from quicklook.io.products import product_name
from quicklook.io.spectrafile import write_frame, write_sky
from quicklook.service.sessions.coadding import stored_groups
from quicklook.service.sessions.testruns import Taken
from quicklook.service.sessions.testwork import Digest

NIGHT, N, NWAVE = 20220101, 3, 60
WAVE = np.tile(np.linspace(6000.0, 7200.0, NWAVE), (N, 1))


def store(out: Path, expid: int, targets: tuple[int, ...] = (11, 12, 13), *, sky: bool = True) -> None:
    """Calibrated spectra of camera r0, with a sky of 90 electron/Angstrom."""
    folder = exposure_folder(out, "live", Unit(NIGHT, expid))
    folder.mkdir(parents=True)
    fiber = np.arange(N, dtype=np.int32)
    fibermap = FiberMap(fiber=fiber, objtype=("TGT",) * N, columns={"TARGETID": np.array(targets, np.int64)}, source="made")
    one, zero = np.ones((N, NWAVE), np.float32), np.zeros((N, NWAVE), np.uint32)
    frame = Frame(camera="r0", flux=one, ivar=one.copy(), mask=zero, wave=WAVE.copy(), sigma=one.copy(), fibermap=fibermap, unit="u", stage="cframe")
    exposure = Exposure(unit=Unit(NIGHT, expid), instrument="desi", flavor="science", exptime=900.0)
    write_frame(folder / product_name("cframe", "r0", expid), frame, exposure)
    if sky:
        model = SkyModel(flux=90 * one, ivar=one.copy(), mask=zero.copy(), wave=WAVE.copy(), fibers=(0,))
        write_sky(folder / product_name("sky", "r0", expid), model, exposure, "r0")


def taken(expid: int) -> Taken:
    tags = {"flavor": "science", "exptime": "900", "start": f"2022-01-01T20:{expid}:00"}
    return Taken(unit=str(Unit(NIGHT, expid)), slot=0, tags=tags, files={"r0": "x"})


def digests(*expids: int, status: Status = Status.NORMAL) -> dict[str, list[Digest]]:
    return {str(Unit(NIGHT, e)): [Digest(part="r0", status=status, tags={"camera": "r0"}, found=(), metrics={})] for e in expids}


def test_exposures_of_one_fibre_map_are_a_group(tmp_path: Path) -> None:
    for expid in (10, 11):
        store(tmp_path, expid)
    for expid in (12, 13):
        store(tmp_path, expid, (21, 22, 23))
    store(tmp_path, 14, (31, 32, 33))
    every = (10, 11, 12, 13, 14, 15)  # nothing is stored of the last
    groups = list(stored_groups(tmp_path, "live", "desi", [taken(e) for e in every], digests(*every)))
    assert [(camera, [m.key.unit.expid for m in members]) for camera, members in groups] == [("r0", [10, 11]), ("r0", [12, 13])]


def test_spectra_exposure_and_sky_are_read(tmp_path: Path) -> None:
    store(tmp_path, 10)
    store(tmp_path, 11, sky=False)
    ((_, members),) = stored_groups(tmp_path, "live", "desi", [taken(10), taken(11)], digests(10, 11))
    products = {type(p): p for p in members[0].read().products}
    exposure, levels = products[Exposure], products[SkyLevels]
    assert isinstance(exposure, Exposure)
    assert isinstance(levels, SkyLevels)
    assert (exposure.exptime, exposure.unit.expid) == (900.0, 10)
    assert exposure.start is not None
    assert exposure.start.minute == 10
    np.testing.assert_allclose(levels.rate, 0.1)
    second = next(p for p in members[1].read().products if isinstance(p, SkyLevels))
    assert np.isnan(second.rate).all()


def test_a_camera_that_was_an_alarm_is_left_out_with_its_reason(tmp_path: Path) -> None:
    for expid in (10, 11):
        store(tmp_path, expid)
    ((_, members),) = stored_groups(tmp_path, "live", "desi", [taken(10), taken(11)], digests(10, 11, status=Status.ALARM))
    with pytest.raises(BadData, match="camera r0 of exposure 10 is ALARM"):
        members[0].read()
