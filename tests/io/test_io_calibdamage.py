"""Damaged calibrations are refused when they are added and found when they are used; sound ones are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import calibs_made
import numpy as np
import pytest
import spectra_made as made
from astropy.io import fits

from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PixelFlat
from quicklook.core.errors import BadData, MissingCalibration
from quicklook.core.product import Calibration
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibbefore import compare_structure
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibfile import load_calibration, read_kind
from quicklook.io.calibreview import review
from quicklook.io.calibspectra import compare_spectra
from quicklook.io.calibstore import FolderStore
from quicklook.io.calibwrite import write_calibration
from quicklook.io.camerafacts import InstrumentFacts
from quicklook.io.fitssum import wrong_sums
from quicklook.io.instrument import load_instrument
from quicklook.io.reviewfacts import neighbour_scatter

RNG = np.random.default_rng(77)
SHAPE = (200, 150)
TAGS = {"raw_shape": "200,150", "image_shape": "200,150"}


def image(kind: str) -> Any:
    """A sound one, of a size at which shares of a hundredth can be told."""
    noise = np.random.default_rng(5).normal(size=SHAPE)
    hot = np.where(np.random.default_rng(6).random(SHAPE) < 0.003, 2.0, 0.0)
    return {
        "bias": Bias(pixels=(0.5 * noise).astype(np.float32)),
        "dark": Dark(pixels=(0.001 + 0.0004 * noise + hot).astype(np.float32)),
        "pixflat": PixelFlat(pixels=(1.0 + 0.006 * noise).astype(np.float32)),
        "mask": BadPixelMask(pixels=(hot > 0).astype(np.uint16)),
    }[kind]


def entry(kind: str, **more: Any) -> CalibEntry:
    return CalibEntry(kind=kind, path=f"{kind}.fits", **more)


def some(share: float, value: float) -> Callable[[Any], Any]:
    return lambda a: np.where(np.random.default_rng(8).random(a.shape) < share, value, a)


def half_zero(a: Any) -> Any:
    out = a.copy()
    out[len(a) // 2 :] = 0
    return out


def random_bytes(a: Any) -> Any:
    """One byte in two hundred of the second half, as a bad disk or a broken transfer leaves it."""
    raw = np.frombuffer(a.astype(np.float32).tobytes(), np.uint8).copy()
    at = np.random.default_rng(9).integers(raw.size // 2, raw.size, raw.size // 200)
    raw[at] = np.random.default_rng(10).integers(0, 256, at.size)
    return np.frombuffer(raw.tobytes(), np.float32).reshape(a.shape)


IMAGES = [
    *((kind, random_bytes, "nothing that was measured does; the file is damaged") for kind in ("bias", "dark", "pixflat")),
    *((kind, some(0.1, 1e20), "nothing that was measured does") for kind in ("bias", "dark", "pixflat")),
    ("bias", some(0.05, 3e5), "of its pixels are beyond 262144 ADU"),
    ("bias", half_zero, r"50 % of its rows.* hold one value all along"),
    ("bias", lambda a: a + RNG.normal(0.0, 1000.0, a.shape), "scatter by .* ADU, at most 200 is possible"),
    ("dark", half_zero, "50 % of its rows"),
    ("dark", np.zeros_like, "all of its pixels are 0 electron/s; none that was measured is so even"),
    ("dark", np.ones_like, "all of its pixels are 1 electron/s"),
    ("dark", lambda a: 1.0 + 0.006 * RNG.normal(size=a.shape), "as in a pixel flat"),
    ("dark", lambda a: a + RNG.normal(0.0, 1000.0, a.shape), "scatter by .* electron/s, at most 30 is possible"),
    ("dark", lambda a: -a, "stand out downwards, 0 upwards, as hot pixels do: is its sign wrong"),
    ("pixflat", some(0.05, 50.0), "of its pixels are beyond 20"),
    ("pixflat", lambda a: RNG.uniform(0.5, 1.5, a.shape), "at most 0.2 is possible"),
    ("pixflat", some(0.02, np.nan), r"% of its values are no numbers \(at most 1 % may be\)"),
]


@pytest.mark.parametrize(("kind", "change", "words"), IMAGES, ids=[f"{k} {w[:25]}" for k, _, w in IMAGES])
def test_an_image_that_nobody_measured(tmp_path: Path, kind: str, change: Callable[[Any], Any], words: str) -> None:
    good = image(kind)
    write_calibration(replace(good, pixels=np.asarray(change(good.pixels), np.float32)), tmp_path / f"{kind}.fits", sync=False)
    with pytest.raises(BadData, match=words):
        add_calibration(tmp_path, entry(kind), TAGS)
    assert not (tmp_path / "calib.yaml").exists()


@pytest.mark.parametrize(("kind", "change"), [("bias", half_zero), ("dark", half_zero), ("pixflat", some(0.1, 1e20))])
def test_one_that_was_never_added_is_found_at_use(tmp_path: Path, kind: str, change: Callable[[Any], Any]) -> None:
    """As in a tree that has no checksums: some of its rows are looked at when it is loaded."""
    good = image(kind)
    path = tmp_path / f"{kind}.fits"
    fits.writeto(path, np.asarray(change(good.pixels), np.float32))
    with pytest.raises(MissingCalibration, match="cannot be used: .*(hold one value all along|nothing that was measured does)"):
        load_calibration(path, type(good), {})


@pytest.mark.parametrize("kind", ["bias", "dark", "pixflat", "mask"])
def test_a_sound_one_is_taken(tmp_path: Path, kind: str) -> None:
    write_calibration(image(kind), tmp_path / f"{kind}.fits", sync=False)
    assert add_calibration(tmp_path, entry(kind), TAGS).quality == "good"


def test_a_dead_amplifier_and_strips_that_are_not_read_are_no_damage() -> None:
    pixels = image("bias").pixels.copy()
    pixels[:100, :75] = 0.0
    pixels[190:] = 0.0
    assert review(Bias(pixels=pixels)).wrong == []
    assert review(PixelFlat(pixels=np.ones(SHAPE, np.float32))).wrong == []  # that of a detector that nobody has lit evenly


def test_the_scatter_of_neighbours() -> None:
    """Of Gaussian noise its sigma, whatever the levels of the columns far apart; 2000 values give it to 3 %."""
    levels = np.repeat([0.0, 5000.0], 75)
    assert neighbour_scatter(levels + RNG.normal(0.0, 3.0, SHAPE)) == pytest.approx(3.0, rel=0.05)
    assert np.isnan(neighbour_scatter(np.full((3, 3), np.nan)))


def test_a_mask_of_random_bits(tmp_path: Path) -> None:
    bits = np.zeros(SHAPE, np.int32)
    bits[4, :20] = 1 << 21
    fits.writeto(tmp_path / "mask.fits", bits)
    with pytest.raises(BadData, match="20 of its pixels are negative or have bits above 15"):
        add_calibration(tmp_path, entry("mask"), TAGS)


@pytest.mark.parametrize("kind", sorted(calibs_made.MAKERS))
def test_what_we_write_carries_sums_that_hold(tmp_path: Path, kind: str) -> None:
    """By an independent reader; also where the cards just fill a block of the header, which then grows by one."""
    for more in (0, *range(15, 36, 4), 36):
        path = write_calibration(calibs_made.MAKERS[kind](), tmp_path / "a.fits", {f"CARD{i}": i for i in range(more)}, sync=False)
        with fits.open(path, checksum=True) as hdus:
            assert all((h.verify_checksum(), h.verify_datasum()) == (1, 1) for h in hdus)  # 1: it is there and holds
        assert wrong_sums(path) == ""


@pytest.mark.parametrize("kind", ["bias", "mask", "psf", "fiberflat", "fluxcal"])
def test_two_values_that_were_changed_are_found(tmp_path: Path, kind: str) -> None:
    path = write_calibration(calibs_made.MAKERS[kind](), tmp_path / f"{kind}.fits", sync=False)
    content = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        at = hdus[0].fileinfo()["datLoc"]
    content[at + 2] ^= 1
    path.write_bytes(content)
    assert "is damaged: its data add up to" in wrong_sums(path)
    with pytest.raises(BadData, match=r"is not added: .*is damaged: its data add up to .* Copy it again"):
        add_calibration(tmp_path, entry(kind), calibs_made_tags())
    with pytest.raises(MissingCalibration, match="is damaged"):  # one that an index lists without a checksum
        load_calibration(path, type(calibs_made.MAKERS[kind]()), {})


def calibs_made_tags() -> dict[str, str]:
    return {"raw_shape": "116,90", "image_shape": "110,60"}


def test_sums_of_somebody_else(tmp_path: Path) -> None:
    """Compressed and gzip-packed ones as well; a header that was changed is told from data that were."""
    path = tmp_path / "x.fits.gz"
    packed = fits.CompImageHDU(RNG.integers(0, 9, SHAPE).astype(np.int16), name="MASK")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path, checksum=True)
    assert wrong_sums(path) == ""
    plain = tmp_path / "x.fits"
    fits.writeto(plain, image("bias").pixels, fits.Header({"CAMERA": "b0"}), checksum=True)
    assert wrong_sums(plain) == ""
    plain.write_bytes(plain.read_bytes().replace(b"'b0      '", b"'b1      '"))
    assert wrong_sums(plain) == "HDU 0 (PRIMARY) was changed after it was written: its CHECKSUM does not hold"


@pytest.mark.parametrize(
    ("cards", "more", "words"),
    [
        ({"CAMERA": "r3"}, {"camera": "b0"}, r"its header says that it is of camera r3 \(CAMERA\), not of b0"),
        ({"CAMERA": "r3"}, {"camera": ("b*", "z*")}, r"of camera r3 \(CAMERA\), not of b\* or z\*"),
        ({"INSTRUME": "virus", "CAMERA": "b0"}, {"camera": "b0", "instrument": "desi"}, r"of instrument virus \(INSTRUME\), not of desi"),
        ({"DETECTOR": "SIM-R3"}, {"when": {"detector": "SIM-B0"}}, r"of detector SIM-R3 \(DETECTOR\), not of SIM-B0"),
        ({"CALKIND": "dark"}, {}, r"it is a dark \(CALKIND\), not a bias"),
    ],
)
def test_a_header_that_says_otherwise(tmp_path: Path, cards: dict[str, str], more: dict[str, Any], words: str) -> None:
    fits.writeto(tmp_path / "bias.fits", image("bias").pixels, fits.Header(cards))
    with pytest.raises(BadData, match=words):
        add_calibration(tmp_path, entry("bias", **more), TAGS)
    known = add_calibration(tmp_path, entry("bias", **more), TAGS, unchecked=True)
    assert known.quality == "provisional"
    assert "its header says" in known.comment


@pytest.mark.parametrize(
    ("cards", "more"),
    [
        ({"CAMERA": "B0"}, {"camera": "b0"}),
        ({"CAMERA": "'r0      '"}, {"camera": "r*"}),  # as a real PSF file has it
        ({"CAMERA": "ANDOR IKON"}, {"camera": "blue"}),
        ({"CAMERA": "r3"}, {"camera": "b0", "serial": "SN7"}),
        ({"CAMERA": "r3"}, {"camera": "*"}),
        ({"INSTRUME": "KAST BLUE", "CAMERA": "blue"}, {"instrument": "kast_blue", "camera": "blue"}),
        ({"INSTRUME": "a bench of ours"}, {"instrument": "kast_blue"}),
    ],
)
def test_a_header_that_does_not_contradict(tmp_path: Path, cards: dict[str, str], more: dict[str, Any]) -> None:
    fits.writeto(tmp_path / "bias.fits", image("bias").pixels, fits.Header(cards))
    assert add_calibration(tmp_path, entry("bias", **more), TAGS).quality == "good"


def noisy(truth: Any, seed: int) -> Any:
    """Another measurement of the same detector: as much noise as structure in the pixel flat, less in the others."""
    return (truth + 0.5 * truth.std() * np.random.default_rng(seed).normal(size=truth.shape)).astype(np.float32)


SHUFFLED = np.random.default_rng(12).permutation(SHAPE[0])
TURNED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda a: 2 * np.median(a) - a, "with the other sign"),
    (lambda a: a[::-1], "with its rows in another order"),
    (lambda a: a[SHUFFLED], "with its rows in another order"),
    (lambda a: a[:, ::-1], "with its columns in the opposite order"),
]


@pytest.mark.parametrize(("change", "words"), TURNED, ids=[str(i) for i in range(len(TURNED))])
@pytest.mark.parametrize("kind", ["bias", "pixflat"])
def test_the_last_one_of_the_camera_tells_sign_and_order(tmp_path: Path, kind: str, change: Callable[[Any], Any], words: str) -> None:
    good = image(kind)
    write_calibration(good, tmp_path / "first.fits", sync=False)
    add_calibration(tmp_path, CalibEntry(kind=kind, path="first.fits"), TAGS)
    write_calibration(replace(good, pixels=np.ascontiguousarray(change(noisy(good.pixels, 3)))), tmp_path / f"{kind}.fits", sync=False)
    with pytest.raises(BadData, match=rf"it is first\.fits {words}"):
        add_calibration(tmp_path, entry(kind), TAGS)
    write_calibration(replace(good, pixels=noisy(good.pixels, 4)), tmp_path / f"{kind}.fits", sync=False)
    assert add_calibration(tmp_path, entry(kind), TAGS).quality == "good"


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_levels_say_nothing_of_sign_or_order(seed: int) -> None:
    """Two biases of noise alone, whose amplifiers have drifted the other way."""
    level = np.repeat([1.0, -1.0], SHAPE[1] // 2)
    one, other = (s * level + np.random.default_rng(seed + k).normal(size=SHAPE) for s, k in ((1, 0), (-1, 100)))
    check = compare_structure(one, other, "x")
    assert (check.wrong, check.doubt) == ("", "")


def test_the_same_structure_ten_times_as_strong_is_doubtful(tmp_path: Path) -> None:
    good = image("bias")
    write_calibration(good, tmp_path / "first.fits", sync=False)
    add_calibration(tmp_path, CalibEntry(kind="bias", path="first.fits"), TAGS)
    write_calibration(Bias(pixels=10 * good.pixels), tmp_path / "bias.fits", sync=False)
    added = add_calibration(tmp_path, entry("bias"), TAGS)
    assert (added.quality, "10 times as strong; is it in another unit?" in added.comment) == ("provisional", True)


def add(folder: Path, product: Calibration, path: str, **more: Any) -> CalibEntry:
    write_calibration(product, folder / path, sync=False)
    given = CalibEntry(kind=product.kind, path=path, camera="b0", **more)
    return add_calibration(folder, given, calibs_made_tags())


@pytest.mark.parametrize("kind", ["fiberflat", "fluxcal", "psf"])
def test_one_of_another_arm(tmp_path: Path, kind: str) -> None:
    """By the others of the camera; and by what the instrument states, where it is the first."""
    add(tmp_path, calibs_made.MAKERS["psf" if kind == "fiberflat" else "fiberflat"](), "first.fits")
    other: Any = calibs_made.MAKERS[kind]()
    moved = replace(other, wavemin=other.wavemin - 4000, wavemax=other.wavemax - 4000) if kind == "psf" else replace(other, wave=other.wave - 3000)
    with pytest.raises(BadData, match=r"those of first\.fits of the same camera are .*: it is of another arm"):
        add(tmp_path, moved, "other.fits")
    assert add(tmp_path, other, "good.fits").quality == "good"
    facts, of_z = InstrumentFacts(load_instrument("desi")), calibs_made.MAKERS["fiberflat"]()
    store = FolderStore(tmp_path / "new", create=True)
    assert "are stated as around" in compare_spectra(store, CalibEntry(kind="fiberflat", path="a", camera="b0"), of_z, facts).wrong
    assert compare_spectra(store, CalibEntry(kind="fiberflat", path="a", camera="z0"), of_z, facts).wrong == ""


def test_traces_far_from_those_before(tmp_path: Path) -> None:
    one = calibs_made.psf()
    add(tmp_path, one, "psf.fits")
    step = np.eye(1, one.x.shape[1])
    assert add(tmp_path, replace(one, x=one.x + 3.0 * step), "near.fits").quality == "good"
    far = add(tmp_path, replace(one, y=one.y + 30.0 * step), "far.fits")
    assert (far.quality, "from those of near.fits" in far.comment) == ("provisional", True)
    turned = compare_spectra(FolderStore(tmp_path), entry("psf", camera="b0"), replace(one, x=one.x + 105.0 * step))
    assert "are its fibres in another order" in turned.wrong


WIDTHS = [(1e5, "not within 0.2 to 20 pixel"), (0.0, "no positive numbers"), (0.05, "not within")]


@pytest.mark.parametrize("name", ["xsig", "ysig"])
@pytest.mark.parametrize(("width", "words"), WIDTHS)
def test_widths_without_sense(name: str, width: float, words: str) -> None:
    one: Any = calibs_made.psf()
    assert any(words in w for w in review(replace(one, **{name: np.full((one.nfibre, 2), width) * np.eye(1, 2)})).wrong)


def test_flats_and_responses_without_sense() -> None:
    flat, flux = made.fiberflat(), calibs_made.fluxcal()
    assert flux.aterm is not None
    shape = flat.flat.shape
    bad: list[tuple[Any, str]] = [
        (replace(flat, flat=RNG.uniform(0.5, 1.5, shape).astype(np.float32)), "it holds no flat"),
        (replace(flat, flat=np.where(RNG.random(shape) < 0.1, 1e20, 1.0).astype(np.float32)), "beyond 20"),
        (replace(flat, meanspec=np.full(shape[1], np.nan, np.float32)), "of its mean spectrum are no numbers"),
        (replace(flux, aterm=flux.aterm + np.float32(1e10)), "ATERM is up to 1e\\+10, at most 10 is possible"),
        (replace(flux, calib=np.where(np.arange(len(flux.calib)) % 10 == 3, 1e5, flux.calib).astype(np.float32)), "more than 1000 times its median"),
    ]
    for product, words in bad:
        assert any(words.replace("\\", "") in w for w in review(product).wrong), (words, review(product).wrong)


@pytest.mark.parametrize(("kind", "name"), [("fiberflat", "FIBERFLAT"), ("fluxcal", "FLUXCALIB")])
def test_a_fifth_of_its_values_is_lost(tmp_path: Path, kind: str, name: str) -> None:
    for share, fine in ((0.05, True), (0.2, False)):
        path = write_calibration(calibs_made.MAKERS[kind](), tmp_path / f"{share}.fits", sync=False)
        with fits.open(path) as hdus:
            values = hdus[name].data.copy()
            values.reshape(-1)[: round(share * values.size)] = np.nan
            fits.HDUList([fits.PrimaryHDU(values, _plain(h.header)) if h.name == name else h.copy() for h in hdus]).writeto(path, overwrite=True, checksum=True)
        if fine:
            read_kind(path, kind)
        else:
            with pytest.raises(BadData, match=r"20 % of its values are no numbers and not masked \(at most 10 % may be\)"):
                read_kind(path, kind)


def _plain(header: Any) -> Any:
    return fits.Header([c for c in header.cards if c.keyword in ("EXTNAME", "BUNIT", "PAIRMASS", "CALKIND")])
