"""The steps that the exposures of a calibration go through, where a calibration would be wrong without one."""

from __future__ import annotations

from quicklook.core.builder import load_builder
from quicklook.io.configfiles import find_config
from quicklook.io.reader import FitsReader


def test_saturated_flats_of_a_slit_are_left_out() -> None:
    builder = load_builder(find_config("builders", "slit-fiberflat"), provides=FitsReader.provides)
    read = next(step for step in builder.member.steps if step.name == "read")
    assert "saturation" in [qa.name for qa in read.qas]
