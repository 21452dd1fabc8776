"""Sky fibres with targets in them are found and named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made

from qa.sky_fibers import SkyFibers, SkyFibersParams
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import NotApplicable


def with_light(frame: Frame, rows: list[int], level: float) -> Frame:
    """Light of this part of the sky, in some fibres."""
    flux = frame.flux.copy()
    flux[rows] += np.float32(level * made.LEVEL)
    return replace(frame, flux=flux)


def test_clean_sky_fibres_have_no_excess() -> None:
    measures = SkyFibers().measure(*made.subtracted())
    assert measures["contaminated_sky_fibers"].values == 0
    assert measures["sky_fiber_excess"].coords["fiber"] == tuple(500 + i for i in made.SKY)
    # noise of a median of 32 blocks of 400 samples: 1.25 * 15 / 140 / sqrt(400) = 0.0067
    assert np.abs(measures["sky_fiber_excess"].values).max() < 4 * 0.0067


@pytest.mark.parametrize("level", [0.05, 0.2, 3.0])
def test_targets_in_half_of_them_are_found_by_name(level: float) -> None:
    frame, sky = made.subtracted()
    rows = list(made.SKY[::2])
    measures = SkyFibers().measure(with_light(frame, rows, level), sky)
    assert measures["contaminated_sky_fibers"].values == 0.5
    assert measures["contaminated_sky_fibers"].remarks[()].startswith("fibre 500, 506, 512, 518")
    excess = dict(zip(measures["sky_fiber_excess"].coords["fiber"], measures["sky_fiber_excess"].values, strict=True))
    assert excess[506] == pytest.approx(level, abs=0.03 + 0.02 * level)


def test_light_in_target_fibres_is_no_matter_nor_are_lines_and_cosmic_rays() -> None:
    frame, sky = made.subtracted()
    frame = with_light(frame, [1, 2, 4], 5.0)
    flux = frame.flux.copy()
    flux[list(made.SKY), 100:110] += 3000
    flux[:, 333] += 1e5
    assert SkyFibers().measure(replace(frame, flux=flux), sky)["contaminated_sky_fibers"].values == 0


def test_what_does_not_stand_out_of_the_noise_does_not_count() -> None:
    frame, sky = made.subtracted(scale=20)
    loud = replace(frame, ivar=(frame.ivar / 400).astype(np.float32))
    assert SkyFibers(SkyFibersParams(least=0.001)).measure(loud, sky)["contaminated_sky_fibers"].values == 0


def test_fibres_known_to_be_bad_are_left_out() -> None:
    frame, sky = made.subtracted()
    status = np.zeros(made.NFIBRE, np.int32)
    status[3] = 1 << 2
    frame = replace(with_light(frame, [3], 4.0), fibermap=made.fibermap(FIBERSTATUS=status))
    measures = SkyFibers().measure(frame, sky)
    assert measures["contaminated_sky_fibers"].values == 0
    assert 503 not in measures["sky_fiber_excess"].coords["fiber"]


def test_where_it_does_not_apply_or_cannot_tell() -> None:
    frame, sky = made.subtracted()
    with pytest.raises(NotApplicable, match="no sky fibres"):
        SkyFibers().measure(replace(frame, fibermap=replace(made.fibermap(), objtype=("TGT",) * made.NFIBRE)), sky)
    measures = SkyFibers().measure(replace(frame, ivar=np.zeros_like(frame.ivar)), sky)
    assert np.isnan(measures["contaminated_sky_fibers"].values)
    assert measures["contaminated_sky_fibers"].remarks[()] == "no sky fibre has usable samples"
