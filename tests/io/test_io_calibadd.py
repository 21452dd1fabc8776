"""What is refused when a calibration is added, and that nothing of it stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import calibs_made
import numpy as np
import pytest
from astropy.io import fits

from quicklook.ccd.calibs import KnownFibers
from quicklook.ccd.stars import Extinction, StdStars
from quicklook.core.errors import BadConfig, BadData, MissingCalibration
from quicklook.core.product import Calibration
from quicklook.io.calib import CalibFolder, open_index
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibcensus import take_census, whose
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibimport import import_calibration
from quicklook.io.calibreview import review
from quicklook.io.calibsize import together
from quicklook.io.calibwrite import write_calibration
from quicklook.io.camerafacts import InstrumentFacts
from quicklook.io.instrument import load_instrument


def entry(kind: str, path: str | None = None, **more: Any) -> CalibEntry:
    return CalibEntry(kind=kind, path=path or f"{kind}.fits", **more)


SIZE = {"raw_shape": "116,90", "image_shape": "110,60"}
"""Tags of a reading of the camera that the calibrations of `calibs_made` are of."""


def add(folder: Path, product: Calibration, tags: dict[str, str] = SIZE, unchecked: bool = False, **more: Any) -> CalibEntry:
    path = more.pop("path", f"{product.kind}.fits")
    write_calibration(product, folder / path, sync=False)
    return add_calibration(folder, entry(product.kind, path, **more), tags, unchecked=unchecked)


def test_all_kinds_of_one_camera(tmp_path: Path) -> None:
    tags = {"raw_shape": "116,90", "image_shape": "110,60"}
    for make in calibs_made.MAKERS.values():
        assert len(add(tmp_path, make(), tags, camera="r0").sha256) == 64
    assert [e.kind for e in CalibFolder(tmp_path).entries()] == list(calibs_made.MAKERS)
    census = take_census(open_index(tmp_path), tmp_path)
    assert (census.good, census.unlisted, census.overlaps, census.gaps) == (True, (), (), ())


def broken(kind: str, change: Callable[[Any], Any]) -> Any:
    """One whose values were changed."""
    product: Any = calibs_made.MAKERS[kind]()
    fields = {f.name: getattr(product, f.name) for f in dataclasses.fields(product)}
    fields = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in fields.items()}
    return type(product)(**{**fields, **change(fields)})


def nans(name: str, fraction: float) -> Callable[[Any], Any]:
    def change(fields: dict[str, Any]) -> dict[str, Any]:
        flat = fields[name].reshape(-1)
        flat[: round(fraction * flat.size)] = np.nan
        return {}

    return change


def times(name: str, factor: float, offset: float = 0.0) -> Callable[[Any], Any]:
    return lambda fields: {name: (fields[name] * factor + offset).astype(fields[name].dtype)}


def swapped(fields: dict[str, Any]) -> dict[str, Any]:
    return {"x": fields["x"][::-1][[1, 0, 2, 3, 4, 5]].copy()}


def _wiggle(fields: dict[str, Any]) -> dict[str, Any]:
    fields["y"][2, 3] = 80.0
    return {}


WRONG = [
    ("bias", nans("pixels", 0.02), r"2 % of its values are no numbers \(at most 1 % may be\)"),
    ("bias", nans("pixels", 1.0), "holds no finite pixel"),
    ("bias", times("pixels", 1.0, 1e5), r"median is 1e\+05 ADU"),
    ("bias", times("pixels", 0.0), "all of its pixels are 0 ADU; none that was measured is so even"),
    ("bias", times("pixels", 1.0, 6e4), r"median is 6e\+04 ADU"),
    ("bias", lambda f: {"variance": np.full_like(f["variance"], np.nan)}, "variance is not known anywhere"),
    ("dark", times("pixels", 1e6), r"median is 10\d\d electron/s, it must lie in -1 to 100; is it in ADU"),
    ("dark", nans("pixels", 0.4), "40 % of its values are no numbers"),
    ("pixflat", times("pixels", 1e4), r"median of its pixels is 1e\+04, it must be around 1"),
    ("pixflat", lambda f: {"pixels": np.where(np.arange(60) < 6, 0, f["pixels"]).astype(np.float32)}, "10 % of its pixels are not positive"),
    ("mask", lambda f: {"pixels": np.ones_like(f["pixels"])}, "masks 100 % of the pixels; 0 is good"),
    ("psf", times("x", 5.0), "lie outside of a detector of 60 x 110 pixels"),
    ("psf", lambda f: {"y": f["y"] + 5000.0 * np.eye(1, 4)}, "lie outside of a detector"),
    ("psf", swapped, "its traces cross"),
    ("psf", lambda f: {"x": np.repeat(f["x"][:1], 6, axis=0) + 0.1 * np.arange(6)[:, None]}, "two of its traces are 0.05 pixel apart"),
    ("psf", nans("x", 0.1), "traces hold values that are not finite"),
    ("psf", _wiggle, r"does not rise along y for 1 traces \(fibre 2"),
    ("psf", lambda f: {"y": np.concatenate([f["y"][:, :1], -f["y"][:, 1:]], axis=1)}, "does not rise along y for 6 traces"),
    ("psf", lambda f: {"wavemin": 10.0}, "its wavelengths are 10 to .* Angstrom, they must lie in 900 to 60000"),
    ("psf", times("ysig", -1.0), "its widths ysig are no positive numbers"),
    ("pixeltraces", times("x", 5.0), "lie outside of the detector"),
    ("fiberflat", times("flat", 0.01), "the median of its good samples is 0.01"),
    ("fiberflat", times("flat", 1.9), "the median of its good samples is 1.9.*, it must be around 1 .0.7 to 1.4"),
    ("fiberflat", lambda f: {"ivar": np.zeros_like(f["ivar"])}, "100 % of its samples are masked or have no ivar"),
    ("fiberflat", lambda f: {"wave": f["wave"][::-1].copy()}, "WAVELENGTH: must be numbers that rise"),
    ("fiberflat", lambda f: {"fiber": np.zeros_like(f["fiber"])}, "a fibre number stands twice"),
    ("fluxcal", times("calib", -1.0), "only 0 % of its samples are positive"),
    ("fluxcal", times("calib", 1e12), "for 1e-17 erg/cm2, no telescope gives that"),
    ("fluxcal", nans("aterm", 0.1), "ATERM holds values that are no numbers"),
    ("sky", lambda f: {"ivar": np.zeros_like(f["ivar"])}, "100 % of its samples have no ivar"),
    ("ptc", times("gain", -1.0), "a gain is not positive"),
    ("ptc", nans("read_noise", 1.0), "no amplifier has a read_noise"),
    ("refarc", nans("area", 0.7), "less than half of its lines are measured"),
    ("refarc", times("area", -1.0), "areas of its lines are not positive"),
    ("refflat", nans("level", 1.0), "less than half of its fibres have a level"),
]


@pytest.mark.parametrize(("kind", "change", "words"), WRONG, ids=[f"{k} {w[:30]}" for k, _, w in WRONG])
def test_values_that_no_calibration_has(tmp_path: Path, kind: str, change: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(BadData, match=rf"{kind} {kind}\.fits is not added: .*{words}") as raised:
        add(tmp_path, broken(kind, change))
    assert raised.value.what_next.startswith("Nothing was added.")
    assert not (tmp_path / "calib.yaml").exists()


def test_a_review_of_what_is_not_known_says_nothing() -> None:
    class Odd(Calibration):
        kind = "odd"

    assert review(Odd()).wrong == []
    assert review(KnownFibers(broken=(-1,))).wrong == ["a fibre number is negative"]


def test_extinction_and_stars_that_nobody_has() -> None:
    wave = np.linspace(3000.0, 9000.0, 20)
    assert review(Extinction(wave=wave, magnitude=np.full(20, 0.2))).wrong == []
    assert "0 magnitude per airmass, it must lie in 0 to 3" in review(Extinction(wave=wave, magnitude=np.zeros(20))).wrong[0]
    assert "50 magnitude per airmass" in review(Extinction(wave=wave, magnitude=np.full(20, 50.0))).wrong[0]
    star = np.full((1, 20), 1000.0)
    assert review(StdStars(wave=wave, flux=star)).wrong == []
    dark = np.where(np.arange(20) < 5, -1.0, star)
    assert "25 % of its flux is negative" in review(StdStars(wave=wave, flux=dark)).wrong[0]


def test_units_and_types_are_those_of_the_kind(tmp_path: Path) -> None:
    write_calibration(calibs_made.dark(), tmp_path / "bias.fits")
    with pytest.raises(BadData, match=r"its unit .BUNIT. is 'electron/s', it must be adu"):
        add_calibration(tmp_path, entry("bias"))
    write_calibration(calibs_made.dark(), tmp_path / "mask.fits")
    with pytest.raises(BadData, match="a mask holds whole numbers"):
        add_calibration(tmp_path, entry("mask"))
    with pytest.raises(BadData, match="has no HDU XTRACE"):
        add_calibration(tmp_path, entry("psf", "mask.fits"))
    with pytest.raises(BadData, match="'weather' cannot be loaded"):
        add_calibration(tmp_path, entry("weather", "mask.fits"))
    assert not (tmp_path / "calib.yaml").exists()


@pytest.mark.parametrize("keep", [0, 100, 2880, 5760, 20000])
def test_a_file_that_is_cut(tmp_path: Path, keep: int) -> None:
    path = write_calibration(calibs_made.bias(), tmp_path / "bias.fits")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadData, match=r"bias bias\.fits is not added: .*(truncated|no FITS file|is empty|empty)"):
        add_calibration(tmp_path, entry("bias"))
    with pytest.raises(BadData, match="cannot be read: No such file"):
        add_calibration(tmp_path, entry("bias", "nowhere.fits"))


def test_the_size_of_the_camera(tmp_path: Path) -> None:
    tags = {"raw_shape": "116,90", "image_shape": "110,60"}
    with pytest.raises(BadData, match=r"it has 59 x 110 pixels, the camera has 60 x 110"):
        add(tmp_path, calibs_made.dark((110, 59)), tags)
    add(tmp_path, calibs_made.dark(), tags)


@pytest.mark.parametrize(
    ("product", "words"),
    [
        (calibs_made.pixflat((110, 61)), r"it has 61 x 110 pixels, dark\.fits of the same camera has 60 x 110; if the detector has changed"),
        (calibs_made.mask((60, 110)), "it has 110 x 60 pixels"),
        (calibs_made.bias((100, 90)), "it has 90 x 100 pixels"),
        (calibs_made.bias((300, 90)), "it has 90 x 300 pixels"),
        (broken("psf", lambda _f: {"npix_x": 70}), "it has 70 x 110 pixels"),
        (broken("fiberflat", lambda f: {n: f[n][:5] for n in ("flat", "ivar", "mask", "fiber")}), r"it has 5 fibres, pixeltraces\.fits .* has 6"),
    ],
)
def test_the_others_of_the_camera_know_its_size(tmp_path: Path, product: Calibration, words: str) -> None:
    add(tmp_path, calibs_made.dark(), camera="r0")
    add(tmp_path, calibs_made.pixeltraces(), camera="r0")
    with pytest.raises(BadData, match=words):
        add(tmp_path, product, {}, camera="r*", path="new.fits")
    add(tmp_path, product, {}, unchecked=True, camera="b0", path="new.fits")
    assert len(CalibFolder(tmp_path).entries()) == 3


def test_a_bias_may_have_the_raw_shape_however_it_is_turned(tmp_path: Path) -> None:
    add(tmp_path, calibs_made.dark(), camera="r0")
    for i, shape in enumerate(((116, 90), (90, 116))):
        tags = SIZE | {"raw_shape": f"{shape[0]},{shape[1]}"}
        add(tmp_path, calibs_made.bias(shape), tags, camera="r0", path=f"{i}.fits", valid_from=20220101 + i, valid_to=20220101 + i)
    assert sorted(e.kind for e in CalibFolder(tmp_path).entries()) == ["bias", "bias", "dark"]


def test_what_never_meets_does_not_contradict() -> None:
    one = entry("bias", camera="r*", valid_from=20220101, valid_to=20220131, serial="A", when={"detector": "X"})
    assert together(one, entry("dark", camera=["b0", "r3"], valid_from=20220131))
    assert not together(one, entry("dark", valid_from=20220201))
    assert not together(one, entry("dark", camera="b*"))
    assert not together(one, entry("dark", serial="B"))
    assert not together(one, entry("dark", when={"detector": "Y"}))
    assert not together(entry("dark", serial="B"), entry("dark", camera="r0"))
    assert together(entry("dark", serial="B", camera="r0"), entry("dark", camera="r0"))
    assert not together(entry("bias", instrument="a"), entry("bias", instrument="b"))


def test_damage_after_it_was_added(tmp_path: Path) -> None:
    added = add(tmp_path, calibs_made.bias(), camera="r0")
    add(tmp_path, calibs_made.dark(), camera="r0", quality="bad")
    raw = bytearray((tmp_path / "bias.fits").read_bytes())
    raw[2880 * 3] ^= 1
    (tmp_path / "bias.fits").write_bytes(raw)
    (tmp_path / "dark.fits").unlink()
    write_calibration(calibs_made.mask(), tmp_path / "deep" / "unknown.fits")
    (tmp_path / "notes.txt").write_text("no calibration")
    told: list[Any] = []
    census = take_census(open_index(tmp_path), tmp_path, told.append)
    assert [c.entry for c in census.checks] == [c.entry for c in told] == [added, *CalibFolder(tmp_path).entries()[1:]]
    assert "its checksum differs" in census.checks[0].wrong
    assert "cannot be read: No such file" in census.checks[1].wrong
    assert [c.damaged for c in census.checks] == [True, False]
    assert not census.good
    assert [p.name for p in census.unlisted] == ["unknown.fits"]


def test_overlaps_and_gaps(tmp_path: Path) -> None:
    rows = [
        ("a", 20220101, 20220110), ("b", 20220105, 20220120), ("c", 20220201, None), ("d", 20220301, None), ("e", 20220301, 99991231),
    ]  # fmt: skip
    for name, first, last in rows:
        add(tmp_path, calibs_made.dark(), camera="r*", path=f"{name}.fits", valid_from=first, valid_to=last)
    add(tmp_path, calibs_made.mask(), serial="S1", default=True)
    census = take_census(open_index(tmp_path), tmp_path)
    assert census.overlaps == (
        "dark of r*: a.fits and b.fits both hold 20220105 to 20220110; b.fits is used there",
        "dark of r*: d.fits and e.fits both begin from 20220301; the one listed last is used",
    )
    assert census.gaps == ("dark of r*: none from 20220121 until 20220131",)
    add(tmp_path, calibs_made.dark(), camera="r*", path="f.fits", default=True)
    assert take_census(open_index(tmp_path), tmp_path).gaps == ()
    assert [whose(e) for e in open_index(tmp_path).entries()[-2:]] == ["serial S1", "r*"]


def test_a_file_from_elsewhere_is_copied(tmp_path: Path) -> None:
    far, here = tmp_path / "far" / "b.fits", tmp_path / "calib"
    write_calibration(calibs_made.bias(), far, {"CAMERA": "r0"})
    added = import_calibration(here, far, {"valid_from": "2022-01-01"}, SIZE)
    assert (added.kind, added.camera, added.path, (here / "b.fits").read_bytes() == far.read_bytes()) == ("bias", ("r0",), "b.fits", True)
    assert import_calibration(here, here / "b.fits", {"quality": "bad"}, SIZE).path == "b.fits"
    assert import_calibration(here / "calib.yaml", far, {}, SIZE, in_place=True).path == str(far)
    assert len(CalibFolder(here).entries()) == 2
    write_calibration(calibs_made.dark(), far)
    with pytest.raises(BadConfig, match="is there already and is another file"):
        import_calibration(here, far, {}, {})


BUILT: dict[str, Any] = {"CAMERA": "r0", "INSTRUME": "bench", "NIGHT": 20220101, "NMADE": 2, "MADE00": 14, "MADE01": 15, "QUALITY": "provisional"}


def test_what_its_builder_wrote_into_the_header_is_kept(tmp_path: Path) -> None:
    path = write_calibration(calibs_made.bias(), tmp_path / "b.fits", BUILT)
    added = import_calibration(tmp_path, path, {}, SIZE)
    assert (added.instrument, added.camera, added.night, added.valid_from) == (("bench",), ("r0",), 20220101, 20220101)
    assert (added.made_from, added.quality) == ((14, 15), "provisional")
    assert import_calibration(tmp_path / "other", path, {"default": True, "quality": "good"}, SIZE).valid_from is None


def test_one_that_is_called_bad_is_not_made_good(tmp_path: Path) -> None:
    path = write_calibration(calibs_made.bias(), tmp_path / "b.fits", {**BUILT, "QUALITY": "bad"})
    with pytest.raises(BadData, match=r"its builder called it bad \(QUALITY in its header\)") as raised:
        import_calibration(tmp_path, path, {}, {})
    assert "--quality provisional" in raised.value.what_next
    assert not (tmp_path / "calib.yaml").exists()
    assert import_calibration(tmp_path, path, {"quality": "bad"}, {}).quality == "bad"
    good = write_calibration(calibs_made.bias(), tmp_path / "g.fits", {**BUILT, "QUALITY": "good"})
    import_calibration(tmp_path, good, {"quality": "bad", "comment": "a lamp was on"}, {})
    with pytest.raises(BadData, match=r"the index has marked it as bad \(a lamp was on\)"):
        import_calibration(tmp_path, good, {}, {})


def test_one_that_is_listed_keeps_what_is_known_of_it(tmp_path: Path) -> None:
    path = write_calibration(calibs_made.bias(), tmp_path / "b.fits")
    fields = {"kind": "bias", "camera": "r0", "instrument": "bench", "valid_from": 20220101, "night": 20220101, "made_from": (14, 15), "serial": "S7"}
    first, told = import_calibration(tmp_path, path, fields, SIZE), list[CalibEntry]()
    again = import_calibration(tmp_path, path, {"kind": "bias", "valid_to": 20220301}, SIZE, replaced=told.append)
    assert told == [first]
    assert again == first.model_copy(update={"valid_to": 20220301})
    write_calibration(calibs_made.bias(), path, {**BUILT, "NIGHT": 20220105})
    other = import_calibration(tmp_path, path, {}, SIZE)
    assert (other.night, other.made_from, other.serial, other.valid_to, other.quality) == (20220105, (14, 15), ("S7",), 20220301, "provisional")
    assert other.sha256 != first.sha256
    assert len(CalibFolder(tmp_path).entries()) == 1


def test_nights_that_end_before_they_begin(tmp_path: Path) -> None:
    path = write_calibration(calibs_made.bias(), tmp_path / "b.fits")
    with pytest.raises(BadConfig, match="valid_to 20160101 is before valid_from 20160102: no night would ever have it"):
        import_calibration(tmp_path, path, {"valid_from": "2016-01-02", "valid_to": "2016-01-01"}, {})


def test_a_raw_frame_is_no_calibration(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "b14.fits", np.random.default_rng(1).integers(900, 1100, calibs_made.RAW_SHAPE).astype(np.uint16))
    with pytest.raises(BadData, match=r"b14\.fits is not added: it holds whole numbers of 16 bit and no CALKIND, so it is a raw frame"):
        import_calibration(tmp_path / "calib", tmp_path / "b14.fits", {"kind": "bias"}, {})


def test_an_instrument_without_overscan_that_is_turned(tmp_path: Path) -> None:
    """The raw frame has as many pixels as the image, and lies the other way round."""
    add(tmp_path, calibs_made.bias((60, 110)), SIZE | {"raw_shape": "60,110"}, camera="r0")
    add(tmp_path, calibs_made.pixeltraces(), {}, camera="r0")
    with pytest.raises(BadData, match="it has 110 x 60 pixels"):
        add(tmp_path, calibs_made.dark((60, 110)), {}, camera="r0")


def test_what_is_refused_leaves_no_copy(tmp_path: Path) -> None:
    far, here = tmp_path / "far.fits", tmp_path / "calib"
    write_calibration(broken("bias", nans("pixels", 0.5)), far)
    with pytest.raises(BadData, match="is not added"):
        import_calibration(here, far, {}, {})
    assert [p.name for p in here.iterdir()] == []
    fits.writeto(far, calibs_made.bias().pixels, overwrite=True)
    with pytest.raises(BadConfig, match="of which kind is far.fits"):
        import_calibration(here, far, {}, {})
    with pytest.raises(MissingCalibration, match="there is no kind of calibration 'odd'; there are arclines"):
        import_calibration(here, far, {"kind": "odd"}, {})
    with pytest.raises(BadConfig, match=r"valid_from: .* is no night"):
        import_calibration(here, far, {"kind": "bias", "valid_from": "tomorrow"}, {})


def test_lists_of_lines_and_fibres_are_calibrations_too(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("5577.3 0.01 5 1 OI\n")
    (tmp_path / "fibers.yaml").write_text("broken: [3]\n")
    (tmp_path / "calib").mkdir()
    import_calibration(tmp_path / "calib", tmp_path / "lines.txt", {"kind": "skylines"}, {})
    import_calibration(tmp_path / "calib", tmp_path / "fibers.yaml", {"kind": "fibers", "camera": "r0"}, {})
    (tmp_path / "lines.txt").write_text("5577.3 nothing\n")
    with pytest.raises(BadConfig, match="another file"):
        import_calibration(tmp_path / "calib", tmp_path / "lines.txt", {"kind": "skylines"}, {})
    assert take_census(open_index(tmp_path / "calib"), tmp_path / "calib").good


def test_real_traces_pass_and_those_of_another_arm_do_not(shared_data: Path, tmp_path: Path) -> None:
    facts = InstrumentFacts(load_instrument("desi"))
    for path in sorted((shared_data / "desi_psf").glob("psf-*.fits")):
        added = import_calibration(tmp_path, path, {"kind": "psf", "camera": path.stem[4:6]}, {}, facts=facts, unchecked=True)
        assert added.sha256
        other = {"b": "r1", "r": "z1", "z": "b1"}[path.stem[4]]
        with pytest.raises(BadData, match=rf"its wavelength in the middle of the detector is \d+ Angstrom, that of camera {other} is stated as"):
            import_calibration(tmp_path / other, path, {"kind": "psf", "camera": other}, {}, facts=facts, unchecked=True)
