"""The preprocessing step: its switches, its calibrations, dead and bad amplifiers, orientation, real and simulated frames."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from preproc_frames import GAIN, LEVEL, NOISE, NX, NY, RAW_SHAPE, SHAPE, amplifier, frame, quadrant, run
from pydantic import ValidationError

from algorithms.preproc import Preproc, PreprocParams
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PixelFlat
from quicklook.ccd.geometry import Amplifier, Orientation, Section
from quicklook.ccd.image import Image, RawImage
from quicklook.ccd.mask import PixelMask
from quicklook.core.contract import contract_of
from quicklook.core.errors import BadConfig, BadData, MissingCalibration


def test_contract_and_parameters() -> None:
    contract = contract_of(Preproc)
    assert [r.name for r in contract.inputs if r.optional] == ["bias", "dark", "pixflat", "badpix"]
    assert contract.outputs == (Image,)
    assert all(description for _, _, description in Preproc.get_default_config())
    step = pickle.loads(pickle.dumps(Preproc(PreprocParams(use_badamps=False))))
    assert step.params.use_badamps is False
    assert PreprocParams(use_dark=False).use_dark == "no"  # YAML reads yes and no as truth values
    for wrong in ({"overscan": "colum"}, {"pixflat_min": 2.0}, {"use_badamps": "?"}, {"nosuch": 1}, {"overscan_trim": (-1, 0)}):
        with pytest.raises(ValidationError):
            PreprocParams(**wrong)


def test_level_noise_gain_and_pulls() -> None:
    image = run(frame(50.0))
    assert image.shape == SHAPE
    for name in "ABCD":
        # 120 x 26 samples: statistical error of the noise 1.3 %, of the level 0.05 ADU
        assert image.read_noise[name] == pytest.approx(NOISE[name], rel=0.05)
        assert image.overscan_level[name] == pytest.approx(LEVEL[name], abs=0.2)
    assert image.pixels.mean() == pytest.approx(50.0, abs=0.3)
    assert np.mean((image.pixels - 50.0) ** 2 * image.ivar) == pytest.approx(1.0, abs=0.04)
    assert (image.mask == 0).all()
    assert set(image.applied) == {"overscan", "gain", "saturation"}
    assert set(image.skipped) == {"bias", "dark", "pixflat", "mask"}


def test_inputs_are_not_changed_and_results_repeat() -> None:
    raw = frame(50.0)
    before = raw.pixels.copy()
    first, second = run(raw), run(raw)
    np.testing.assert_array_equal(raw.pixels, before)
    np.testing.assert_array_equal(first.ivar, second.ivar)


@pytest.mark.parametrize("trimmed", [False, True])
def test_bias_of_either_shape(trimmed: bool) -> None:
    rng = np.random.default_rng(3)
    raw = frame()
    bias = np.zeros(RAW_SHAPE, np.float32)
    for amp in raw.amplifiers:
        bias[amp.data.slices] = 5 * rng.normal(size=amp.data.shape)
    shifted = replace(raw, pixels=(raw.pixels + bias).astype(np.float32))
    given = np.zeros(SHAPE, np.float32)
    for amp in raw.amplifiers:
        given[amp.ccd.slices] = bias[amp.data.slices]
    image = run(shifted, Bias(pixels=given if trimmed else bias))
    assert "bias" in image.applied
    np.testing.assert_allclose(image.pixels, run(replace(raw, pixels=raw.pixels.astype(np.float32))).pixels, atol=0.01)


def test_dark_flat_and_mask() -> None:
    rng = np.random.default_rng(4)
    flat = (1 + 0.05 * rng.normal(size=SHAPE)).astype(np.float32)
    flat[3, 3], flat[4, 4], flat[5, 5] = np.nan, 0.0, 0.05
    bad = np.zeros(SHAPE, np.uint16)
    bad[:, 20] = PixelMask.HOT
    raw = frame(100.0 * np.nan_to_num(flat).clip(0.01) + 40.0)
    image = run(raw, Dark(pixels=np.full(SHAPE, 0.4, np.float32)), PixelFlat(pixels=flat), BadPixelMask(pixels=bad))
    good = image.ivar > 0
    assert image.pixels[good].mean() == pytest.approx(100.0, abs=0.3)
    assert np.mean((image.pixels - 100.0)[good] ** 2 * image.ivar[good]) == pytest.approx(1.0, abs=0.04)
    assert (image.mask[:, 20] == PixelMask.HOT).all()
    assert (image.ivar[:, 20] == 0).all()
    assert image.mask[3, 3] == PixelMask.PIXFLATZERO | PixelMask.NONFINITE
    assert image.mask[4, 4] == PixelMask.PIXFLATZERO
    assert image.mask[5, 5] == PixelMask.PIXFLATLOW
    assert image.pixels[3, 3] == image.ivar[3, 3] == 0
    assert np.isfinite(image.pixels).all()


@pytest.mark.parametrize(("use", "what"), [("use_bias", "bias"), ("use_dark", "dark"), ("use_pixflat", "pixflat"), ("use_mask", "mask")])
def test_required_calibration_that_is_absent(use: str, what: str) -> None:
    with pytest.raises(MissingCalibration, match=f"r1: no {what}"):
        run(frame(), **{use: "yes"})
    assert what not in run(frame(), **{use: "no"}).skipped


def test_calibration_of_another_shape() -> None:
    with pytest.raises(MissingCalibration, match=r"160 x 240 are needed"):
        run(frame(), PixelFlat(pixels=np.ones((10, 10), np.float32)))
    with pytest.raises(MissingCalibration, match="bias has 10 x 12 pixels"):
        run(frame(), Bias(pixels=np.ones((12, 10), np.float32)))


@pytest.mark.parametrize("stated", [True, False])
def test_the_noise_of_a_dark_is_in_the_variance(stated: bool) -> None:
    """0.01 electron/s in 900 s are 9 electron: three times what the read-out makes."""
    sigma = np.full(SHAPE, 0.01, np.float32)
    sigma[0, 0] = 0.0  # not known
    pixels = np.random.default_rng(7).normal(0.0, 0.01, SHAPE).astype(np.float32)
    image = run(frame(), Dark(pixels=pixels, variance=sigma**2 if stated else None), exptime=900.0)
    pull = np.std((image.pixels * np.sqrt(image.ivar))[image.mask == 0])
    assert pull == pytest.approx(1.0, abs=0.08) if stated else pull > 1.5  # ivar counts what light the model finds in the noise, too
    known = replace(image, pixels=image.pixels.copy())
    expected = np.sqrt(image.noise_variance["A"])
    assert np.std(known.pixels[amplifier("A").ccd.slices]) == pytest.approx(expected, rel=0.05) if stated else expected < 5.0


def test_the_noise_of_a_trimmed_bias_is_in_the_variance() -> None:
    """One of the raw shape has it in the overscan, too, where the noise is measured."""
    plain = run(frame()).noise_variance["A"]
    of = {shape: Bias(pixels=np.zeros(shape, np.float32), variance=np.full(shape, 4.0, np.float32)) for shape in (SHAPE, frame().shape)}
    added = [run(frame(), bias).noise_variance["A"] - plain for bias in of.values()]
    assert added == pytest.approx([4.0 * amplifier("A").gain ** 2, 0.0], abs=1e-3)


def test_dark_needs_a_time() -> None:
    dark = Dark(pixels=np.full(SHAPE, 0.4, np.float32))
    assert "exposure time" in run(frame(), dark, exptime=math.nan).skipped["dark"]
    with pytest.raises(BadData, match="exposure time"):
        run(frame(), dark, exptime=-1.0, use_dark="yes")
    zero = run(frame(), dark, exptime=0.0)
    assert "dark" not in zero.applied
    assert "dark" not in zero.skipped


@pytest.mark.parametrize("value", [0, 1010, 65535])
def test_dead_amplifier_has_no_weight_and_no_read_noise(value: int, caplog: pytest.LogCaptureFixture) -> None:
    raw = frame(50.0)
    pixels = raw.pixels.copy()
    pixels[quadrant("B")] = value
    bias = np.random.default_rng(5).normal(size=RAW_SHAPE).astype(np.float32)  # must not make it look alive
    caplog.set_level("DEBUG")
    image = run(replace(raw, pixels=pixels), Bias(pixels=bias))
    where = amplifier("B").ccd.slices
    assert math.isnan(image.read_noise["B"])
    assert (image.ivar[where] == 0).all()
    assert (image.mask[where] & PixelMask.BADAMP != 0).all()
    assert "amplifier B is dead" in caplog.text
    assert {r.levelname for r in caplog.records} == {"DEBUG"}  # the QA dead_amp tells the observer
    assert image.dead == {"B": f"every pixel reads {value}"}
    kept = run(replace(raw, pixels=pixels), find_dead=False)
    assert (kept.ivar[where] == 0).all()
    assert (kept.mask[where] & PixelMask.BADREADNOISE != 0).all()
    assert image.read_noise["A"] > 0
    assert (image.ivar[amplifier("A").ccd.slices] > 0).all()


def test_overexposed_amplifier_is_saturated_not_dead() -> None:
    raw = frame()
    pixels = raw.pixels.copy()
    pixels[amplifier("B").data.slices] = 65535
    image = run(replace(raw, pixels=pixels))
    where = amplifier("B").ccd.slices
    assert (image.mask[where] == PixelMask.SATURATED).all()
    assert image.read_noise["B"] == pytest.approx(NOISE["B"], rel=0.05)


def test_nothing_but_nan() -> None:
    image = run(replace(frame(), pixels=np.full(RAW_SHAPE, np.nan, np.float32)))
    assert (image.ivar == 0).all()
    assert np.isfinite(image.pixels).all()
    assert all(math.isnan(v) for v in image.read_noise.values())
    assert all(math.isnan(v) for v in image.overscan_level.values())


@pytest.mark.parametrize("names", ["", "D", "AC"])
def test_known_bad_amplifiers(names: str) -> None:
    image = run(frame(amps=tuple(amplifier(n, bad=n in names) for n in "ABCD")))
    for amp in image.amplifiers:
        assert (image.ivar[amp.ccd.slices] == 0).all() == (amp.name in names)
        assert ((image.mask[amp.ccd.slices] & PixelMask.BADAMP) != 0).all() == (amp.name in names)
    assert ("badamps" in image.applied) == bool(names)
    assert image.dead == {}


def test_a_known_bad_amplifier_is_used_where_that_is_wanted_and_not_named_dead_again() -> None:
    amps = tuple(amplifier(n, bad=n == "B") for n in "ABCD")
    used = run(frame(amps=amps), use_badamps=False)
    assert (used.ivar > 0).all()
    assert "badamps" not in used.applied
    raw = frame(amps=amps)
    pixels = raw.pixels.copy()
    pixels[quadrant("B")] = 0
    dead = run(replace(raw, pixels=pixels))
    assert (dead.mask[amplifier("B").ccd.slices] & PixelMask.BADAMP != 0).all()
    assert dead.dead == {}


@pytest.mark.parametrize("turn", [Orientation(), Orientation(transpose=True, flip_x=True)])
def test_dead_area_of_a_living_amplifier_is_masked_and_nothing_else(turn: Orientation) -> None:
    raw = frame(50.0, orientation=turn)
    pixels = raw.pixels.copy()
    data = amplifier("A").data
    pixels[data.y0 : data.y0 + 50, data.x0 : data.x1] = 0
    dead = run(replace(raw, pixels=pixels))
    wanted = np.zeros(SHAPE, bool)
    wanted[:50, : SHAPE[1] // 2] = True
    wanted = turn_array(wanted, turn)
    np.testing.assert_array_equal(dead.mask & PixelMask.DEAD != 0, wanted)
    np.testing.assert_array_equal(dead.ivar == 0, wanted)
    assert "dead areas" in dead.applied
    assert (run(replace(raw, pixels=pixels), find_dead=False).mask & PixelMask.DEAD == 0).all()
    assert "dead areas" not in run(raw).applied


@pytest.mark.parametrize("value", [1e20, 1e30, 3.4e38, -3.4e38])
@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_numbers_that_only_a_broken_file_holds_raise_no_warning(value: float, share: float) -> None:
    raw = frame(50.0)
    pixels = raw.pixels.astype(np.float32)
    pixels[np.random.default_rng(1).uniform(size=pixels.shape) < share] = value
    image = run(replace(raw, pixels=pixels))  # warnings are errors here
    assert np.isfinite(image.ivar).all()


def turn_array(array: np.ndarray, turn: Orientation) -> np.ndarray:
    array = array.T if turn.transpose else array
    return array[:, ::-1] if turn.flip_x else array


def test_saturation() -> None:
    raw = frame()
    pixels = raw.pixels.copy()
    y, x = raw.amplifiers[0].data.y0 + 7, raw.amplifiers[0].data.x0 + 9
    pixels[y, x], pixels[y + 40, x] = 60000, 59999
    image = run(replace(raw, pixels=pixels))
    assert image.mask[7, 9] == PixelMask.SATURATED
    assert image.ivar[7, 9] == 0
    assert image.mask[47, 9] == 0
    assert run(replace(raw, pixels=pixels), use_saturation=False).mask[7, 9] == 0
    unknown = tuple(replace(a, saturation=None) for a in raw.amplifiers)
    pixels = pixels.copy()
    pixels[y, x] = 65535
    assert run(replace(raw, pixels=pixels.astype(np.uint16), amplifiers=unknown)).mask[7, 9] == PixelMask.SATURATED


@pytest.mark.parametrize("source", ["auto", "overscan", "prescan", "both"])
@pytest.mark.parametrize("mode", ["row", "median"])
def test_overscan_sources(source: str, mode: str) -> None:
    image = run(frame(), overscan=mode, overscan_source=source)
    for amp in image.amplifiers:
        assert image.pixels[amp.ccd.slices].mean() == pytest.approx(0.0, abs=0.5)


def test_row_jumps_are_followed_by_rows_not_by_one_level() -> None:
    raw = frame()
    jumps = np.round(20 * np.random.default_rng(6).normal(size=RAW_SHAPE[0])).astype(np.int32)
    jumping = replace(raw, pixels=raw.pixels + jumps[:, None])
    assert np.std(run(jumping).pixels.mean(axis=1)) < 1.0
    assert np.std(run(jumping, overscan_smooth=0).pixels.mean(axis=1)) < 1.0
    assert np.std(run(jumping, overscan="median").pixels.mean(axis=1)) > 10
    assert np.std(run(jumping, overscan_adaptive=False).pixels.mean(axis=1)) > 10
    assert run(jumping).read_noise["A"] == pytest.approx(NOISE["A"], rel=0.05)


def test_trim_leaves_out_columns_beside_the_data() -> None:
    raw = frame()
    pixels = raw.pixels.copy()
    for amp in raw.amplifiers:  # charge left behind in the first columns after the data, seen from the read-out
        assert amp.overscan is not None
        beside = slice(amp.overscan.x0, amp.overscan.x0 + 3) if amp.overscan.x0 == amp.data.x1 else slice(amp.overscan.x1 - 3, amp.overscan.x1)
        pixels[amp.overscan.y0 : amp.overscan.y1, beside] += 6
    trailed = replace(raw, pixels=pixels)
    assert run(trailed).pixels.mean() == pytest.approx(0.0, abs=0.1)
    assert run(trailed, overscan_trim=(0, 3)).pixels.mean() < -0.3


def test_no_overscan_at_all() -> None:
    bare = tuple(replace(amplifier(n), overscan=None, prescan=None) for n in "ABCD")
    with pytest.raises(MissingCalibration, match=r"amplifiers A, B, C, D without overscan, and there is no bias"):
        run(frame(amps=bare))
    image = run(frame(amps=bare), use_bias="no")
    assert "no overscan section" in image.skipped["overscan"]
    assert (image.ivar == 0).all()
    assert (image.mask == PixelMask.BADREADNOISE).all()
    told = tuple(replace(a, read_noise=NOISE[a.name]) for a in bare)
    image = run(frame(amps=told), overscan="none")
    assert image.read_noise == NOISE
    assert (image.ivar > 0).all()
    assert image.pixels.mean() > 1000


@pytest.mark.parametrize("mode", ["smooth", "column"])
def test_orsec_takes_out_what_columns_have(mode: str) -> None:
    pattern = np.round(8 * np.sin(np.arange(RAW_SHAPE[1]) / 9.0)).astype(np.int32)
    for amp in frame().amplifiers:
        pattern[amp.overscan.slices[1]] = pattern[amp.prescan.slices[1]] = 0  # type: ignore[union-attr]
    raw = frame()
    waving = replace(raw, pixels=raw.pixels + pattern)
    assert np.std(run(waving).pixels.mean(axis=0)) > 5
    # noise of the level of one column: 2.75/sqrt(16) electron, and of the mean of 240 rows
    assert np.std(run(waving, orsec=mode, overscan_smooth=11).pixels.mean(axis=0)) < 1.0
    assert np.mean(run(waving, orsec="column").pixels ** 2 * run(waving, orsec="column").ivar) == pytest.approx(1.0, abs=0.05)
    missing = tuple(replace(a, parallel_overscan=None) for a in raw.amplifiers)
    assert "parallel" in run(replace(raw, amplifiers=missing), orsec=mode).skipped["orsec"]


def test_crosstalk_is_taken_out_where_it_was_put() -> None:
    light = np.zeros(SHAPE)
    light[30:40, 30:40] = 20000.0  # on amplifier A
    amps = tuple(amplifier(n, crosstalk={"A": 0.01} if n != "A" else {}) for n in "ABCD")
    raw = frame(light, amps=amps)
    pixels = raw.pixels.astype(np.float32)
    source = pixels[amps[0].data.slices] - LEVEL["A"]
    for amp in amps[1:]:
        ghost = source[::-1] if amp.corner[0] == "u" else source
        pixels[amp.data.slices] += 0.01 * (ghost[:, ::-1] if amp.corner[1] == "r" else ghost)
    ghosted = replace(raw, pixels=pixels)
    assert "crosstalk" in run(ghosted).applied
    blank = np.ones(SHAPE, bool)
    blank[: NY + 1, : NX + 1] = False
    assert np.abs(run(ghosted).pixels[blank]).max() < 25
    assert run(ghosted, use_crosstalk=False).pixels[blank].max() > 150


@pytest.mark.parametrize("wrong", [{"Z": 0.1}, {"A": math.nan}, {"B": 0.1}])
def test_crosstalk_that_makes_no_sense(wrong: dict[str, float]) -> None:
    amps = tuple(amplifier(n, crosstalk=wrong if n == "B" else {}) for n in "ABCD")
    with pytest.raises(BadConfig, match="crosstalk"):
        run(frame(amps=amps))


def test_gain_off_is_one_electron_per_adu() -> None:
    image = run(frame(50.0), use_gain=False)
    assert image.read_noise["A"] == pytest.approx(NOISE["A"] / GAIN["A"], rel=0.05)
    assert image.pixels[amplifier("A").ccd.slices].mean() == pytest.approx(50.0 / GAIN["A"], abs=0.5)
    assert "gain" not in image.applied


@pytest.mark.parametrize("turn", [Orientation(transpose=True), Orientation(flip_x=True), Orientation(transpose=True, flip_x=True, flip_y=True)])
def test_orientation(turn: Orientation) -> None:
    """A frame that arrives turned gives the same image as one that lies right, with a bias of the raw shape turned with it."""
    right = frame(30.0 + 200.0 * (np.arange(SHAPE[0]) % 40 == 7)[:, None])
    bias = np.random.default_rng(8).normal(size=RAW_SHAPE).astype(np.float32)

    def back(array: np.ndarray) -> np.ndarray:
        array = array[::-1] if turn.flip_y else array
        array = array[:, ::-1] if turn.flip_x else array
        return np.ascontiguousarray(array.T if turn.transpose else array)

    def section(s: Section | None, shape: tuple[int, int]) -> Section | None:
        if s is None:
            return None
        index = np.zeros(shape, bool)
        index[s.slices] = True
        y, x = np.nonzero(back(index))
        return Section(int(y.min()), int(y.max()) + 1, int(x.min()), int(x.max()) + 1)

    amps = tuple(
        replace(
            a,
            data=section(a.data, RAW_SHAPE),
            ccd=section(a.ccd, SHAPE),
            overscan=section(a.overscan, RAW_SHAPE),
            prescan=section(a.prescan, RAW_SHAPE),
            parallel_overscan=section(a.parallel_overscan, RAW_SHAPE),
        )
        for a in right.amplifiers
    )
    turned = replace(right, pixels=back(right.pixels), amplifiers=amps, orientation=turn)
    expected, found = run(right, Bias(pixels=bias)), run(turned, Bias(pixels=back(bias)))
    assert "orientation" in found.applied
    np.testing.assert_allclose(found.pixels, expected.pixels, atol=0.01)
    np.testing.assert_allclose(found.ivar, expected.ivar, rtol=1e-4)
    assert found.read_noise == pytest.approx(expected.read_noise)
    left = run(turned, Bias(pixels=back(bias)), orient=False)
    np.testing.assert_allclose(left.pixels, back(expected.pixels), atol=0.01)


def test_overscan_above_the_data_gives_a_level_per_column() -> None:
    rng = np.random.default_rng(9)
    level = 1000 + 10 * rng.normal(size=60)
    pixels = np.round(level[None] + 2 * rng.normal(size=(90, 60))).astype(np.uint16)
    amp = Amplifier(name="A", data=Section(0, 60, 0, 60), ccd=Section(0, 60, 0, 60), overscan=Section(60, 90, 0, 60), gain=1.0)
    image = run(RawImage(camera="x", pixels=pixels, amplifiers=(amp,)))
    assert np.std(image.pixels.mean(axis=0)) < 0.7
    assert image.read_noise["A"] == pytest.approx(2.0, rel=0.1)


def test_one_pixel() -> None:
    amp = Amplifier(name="A", data=Section(0, 1, 0, 1), ccd=Section(0, 1, 0, 1), gain=1.0)
    image = run(RawImage(camera="x", pixels=np.array([[7]], np.uint16), amplifiers=(amp,)), use_bias="no")
    assert image.shape == (1, 1)
    assert image.ivar[0, 0] == 0
