"""The spectra that are shown: of which fibres, averaged how, with which error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as made

from qa.chosen_spectra import ChosenSpectra, ChosenSpectraParams
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import NotApplicable
from quicklook.core.plots import Line


def bright(frame: Frame, row: int, level: float) -> Frame:
    flux = frame.flux.copy()
    flux[row] += np.float32(level)
    return replace(frame, flux=flux)


def test_the_brightest_and_the_faintest_target_are_shown() -> None:
    frame, sky = made.subtracted()
    targets = [i for i, kind in enumerate(frame.fibermap.objtype) if kind == "TGT"]
    frame = bright(bright(frame, targets[3], 1e4), targets[5], -1e4)
    measures = ChosenSpectra().measure(frame, sky)
    got = dict(zip(measures["chosen_fiber"].coords["role"], measures["chosen_fiber"].values, strict=True))
    number = frame.fibermap.fiber
    assert got["brightest target"] == number[targets[3]]
    assert got["faintest target"] == number[targets[5]]
    assert frame.fibermap.objtype[list(number).index(got["sky fibre"])] == "SKY"
    assert [p.title.split(",")[0] for p in measures.plots[0].panels] == ["Brightest target", "Faintest target", "Sky fibre"]


def test_points_are_means_of_usable_samples_with_their_error() -> None:
    frame, sky = made.subtracted()
    row = next(i for i, kind in enumerate(frame.fibermap.objtype) if kind == "TGT")
    frame = bright(frame, row, 1e4)
    mask = frame.mask.copy()
    mask[row, 1] = 1
    frame = replace(frame, mask=mask)
    n = frame.flux.shape[1] // 4
    spectrum, model = ChosenSpectra(ChosenSpectraParams(points=n)).measure(frame, sky).plots[0].panels[0].layers
    assert isinstance(spectrum, Line)
    assert isinstance(model, Line)
    assert spectrum.error is not None
    use = [0, 2, 3]
    assert spectrum.y[0] == pytest.approx(frame.flux[row, use].mean(), rel=1e-6)
    assert spectrum.error[0] == pytest.approx(np.sqrt((1 / frame.ivar[row, use]).sum()) / 3, rel=1e-6)
    assert model.y[0] == pytest.approx(sky.flux[row, use].mean(), rel=1e-6)
    assert spectrum.x[0] == pytest.approx(frame.wave[row, :4].mean())


def test_without_a_model_and_without_a_fibre() -> None:
    frame, _ = made.subtracted()
    assert all(len(p.layers) == 1 for p in ChosenSpectra().measure(frame, None).plots[0].panels)
    with pytest.raises(NotApplicable, match="usable spectrum"):
        ChosenSpectra().measure(replace(frame, mask=np.ones_like(frame.mask)), None)
