"""The size of a calibration that is the first of its camera: nobody believes it unless something tells it, and its response is compared too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import calibs_made
import numpy as np
import pytest

from quicklook.ccd.pixeltraces import Spectrograph
from quicklook.core.errors import BadData, MissingCalibration
from quicklook.core.product import Calibration
from quicklook.io.calib import CalibFolder, open_index
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibcensus import take_census, write_checksums
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibfile import load_calibration
from quicklook.io.calibimport import import_calibration
from quicklook.io.calibreview import glance
from quicklook.io.calibspectra import range_misfit
from quicklook.io.calibwrite import write_calibration
from quicklook.io.camerafacts import InstrumentFacts, declared_sizes
from quicklook.io.instrument import load_instrument
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

SIZE = {"raw_shape": "116,90", "image_shape": "110,60"}
NOBODY = "nothing tells the size of its camera"


class Facts:
    """What a test knows of the camera."""

    def __init__(self, *sizes: Mapping[str, str], spectra: Spectrograph | None = None) -> None:
        self._sizes, self._spectra = sizes, spectra

    def sizes(self, entry: CalibEntry) -> Sequence[Mapping[str, str]]:
        return self._sizes

    def spectra(self, entry: CalibEntry) -> Spectrograph | None:
        return self._spectra


def add(folder: Path, product: Calibration, name: str = "", tags: Mapping[str, str] | None = None, facts: Facts | None = None, **more: object) -> CalibEntry:
    path = f"{name or product.kind}.fits"
    write_calibration(product, folder / path, sync=False)
    return add_calibration(folder, CalibEntry(kind=product.kind, path=path, camera=("r0",)), tags, facts=facts, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["bias", "dark", "pixflat", "mask", "psf", "pixeltraces"])
def test_the_first_of_its_camera_is_refused_where_nothing_tells_its_size(tmp_path: Path, kind: str) -> None:
    with pytest.raises(BadData, match=f"{kind} {kind}.fits is not added: {NOBODY}") as raised:
        add(tmp_path, calibs_made.MAKERS[kind]())
    assert "--like FRAME" in raised.value.what_next
    assert "--unchecked" in raised.value.what_next
    assert not (tmp_path / "calib.yaml").exists()


def test_what_has_no_size_of_a_detector_needs_nobody(tmp_path: Path) -> None:
    for kind in ("fluxcal", "fiberflat", "ptc", "refarc", "refflat", "sky"):
        assert not add(tmp_path, calibs_made.MAKERS[kind]()).size_unchecked


def test_who_knows_may_say_so_and_everybody_sees_it(tmp_path: Path) -> None:
    added = add(tmp_path, calibs_made.bias((40, 30)), unchecked=True)
    assert (added.size_unchecked, added.quality, added.shapes) == (True, "provisional", {})
    assert open_index(tmp_path).entries() == (added,)
    checked = add(tmp_path, calibs_made.dark(), tags=SIZE)  # a wrong one that nobody checked stands in the way of none that was
    assert (checked.size_unchecked, checked.quality, checked.shapes) == (False, "good", SIZE)


def test_one_that_is_checked_later_is_good_again(tmp_path: Path) -> None:
    path = write_calibration(calibs_made.bias(), tmp_path / "b.fits", {"CAMERA": "r0"})
    assert import_calibration(tmp_path, path, {}, {}, unchecked=True).quality == "provisional"
    again = import_calibration(tmp_path, path, {}, SIZE)
    assert (again.quality, again.size_unchecked, again.shapes) == ("good", False, SIZE)


def test_the_size_that_another_was_compared_with_counts(tmp_path: Path) -> None:
    """A bias of the raw shape alone would leave room for a dark that lacks some rows."""
    add(tmp_path, calibs_made.bias(), tags=SIZE)
    with pytest.raises(BadData, match=r"it has 60 x 105 pixels, the camera has 60 x 110; bias\.fits was made for that size"):
        add(tmp_path, calibs_made.dark((105, 60)))
    assert add(tmp_path, calibs_made.dark()).shapes == SIZE
    with pytest.raises(BadData, match="it has 90 x 115 pixels"):
        add(tmp_path, calibs_made.bias((115, 90)), "other")


def test_traces_tell_the_size_too(tmp_path: Path) -> None:
    add(tmp_path, calibs_made.pixeltraces(), tags={"image_shape": "110,60"})
    assert not add(tmp_path, calibs_made.mask()).size_unchecked
    with pytest.raises(BadData, match="it has 61 x 110 pixels"):
        add(tmp_path, calibs_made.pixflat((110, 61)))


def test_what_else_is_known_of_the_camera_is_asked_last(tmp_path: Path) -> None:
    layouts = Facts({"raw_shape": "116,90", "image_shape": "110,60"}, {"raw_shape": "112,90", "image_shape": "110,60"})
    with pytest.raises(BadData, match="it has 90 x 115 pixels, the camera has 60 x 110 or 90 x 116"):
        add(tmp_path, calibs_made.bias((115, 90)), facts=layouts)
    added = add(tmp_path, calibs_made.bias((112, 90)), facts=layouts)
    assert added.shapes == {"raw_shape": "112,90", "image_shape": "110,60"}


def test_sizes_that_instruments_declare() -> None:
    bench = declared_sizes(load_instrument("vis_bench"))
    small, whole = {"image_shape": "1024,256", "raw_shape": "1064,398"}, {"image_shape": "4132,4096"}
    assert sorted(bench, key=str) == sorted([small, *({**whole, "raw_shape": f"{ny},4238"} for ny in (4172, 4132))], key=str)
    assert declared_sizes(load_instrument("desi")) == []  # its headers say them
    assert declared_sizes(load_instrument("kast_blue")) == []  # its frames are as long as the slit that is read


def test_a_raw_frame_of_the_camera_tells_it(tmp_path: Path) -> None:
    cameras = sim_instruments(("b0", "r0"), scale="tiny", seed=5)
    write_calibrations(tmp_path, cameras)
    write_exposure(tmp_path, plan_exposure("zero", 100), cameras)
    facts = InstrumentFacts(load_instrument("desi"), tmp_path / "raw")
    (tmp_path / "raw" / "desi-00000101.fits.fz").write_bytes(b"still being written")
    for kind in ("bias", "psf"):
        entry = CalibEntry(kind=kind, path=str(tmp_path / "calib" / "spec" / "sm4" / f"{kind}-r0.fits"), camera=("r0",))
        added = add_calibration(tmp_path / kind, entry, facts=facts)
        assert set(added.shapes) == {"raw_shape", "image_shape"}
    write_calibration(calibs_made.bias(), tmp_path / "wrong.fits")
    wrong = CalibEntry(kind="bias", path=str(tmp_path / "wrong.fits"), camera=("r0",))
    with pytest.raises(BadData, match="it has 90 x 116 pixels, the camera has"):
        add_calibration(tmp_path / "new", wrong, facts=facts)
    with pytest.raises(BadData, match=NOBODY):
        add_calibration(tmp_path / "new", wrong.model_copy(update={"camera": ("z3",)}), facts=facts)
    assert add_calibration(tmp_path / "calib", wrong.model_copy(update={"kind": "bias", "path": "spec/sm4/bias-r0.fits"})).size_unchecked is False


def test_a_size_that_changed_in_the_file_is_found_by_the_check(tmp_path: Path) -> None:
    add(tmp_path, calibs_made.bias(), tags=SIZE)
    text = (tmp_path / "calib.yaml").read_text()
    (tmp_path / "calib.yaml").write_text(text.replace("116,90", "118,90"))
    census = take_census(open_index(tmp_path), tmp_path)
    assert "it has 90 x 116 pixels, the camera has 60 x 110 or 90 x 118" in census.checks[0].wrong


def test_wavelengths_that_another_grating_has() -> None:
    traces = calibs_made.psf()
    wave = np.linspace(traces.wavemin, traces.wavemax, 50)
    y = traces.evaluate(traces.y, wave)[0]
    step, middle = (wave[-1] - wave[0]) / (y[-1] - y[0]), float(np.interp(0.5 * (traces.npix_y - 1), y, wave))
    right = Spectrograph(camera="r0", dispersion=step, centre=middle, centre_error=1.0)
    assert range_misfit(traces, right) == ""
    assert range_misfit(traces, replace(right, dispersion=1.2 * step, centre=middle + 0.4 * step * traces.npix_y)) == ""
    assert range_misfit(traces, replace(right, dispersion=None, centre=None)) == ""
    assert "its dispersion is" in range_misfit(traces, replace(right, dispersion=1.8 * step))
    assert "its wavelength in the middle" in range_misfit(traces, replace(right, centre=middle - 0.6 * step * traces.npix_y))


def test_a_response_is_compared_with_the_one_before(tmp_path: Path) -> None:
    first = calibs_made.fluxcal()
    add(tmp_path, first, "first")
    assert add(tmp_path, replace(first, calib=first.calib * 2.5), "like").quality == "good"
    part = np.where(np.arange(first.calib.size) < first.calib.size // 2, 10.0, 1.0).astype(np.float32)
    assert add(tmp_path, replace(first, calib=first.calib * part), "part").quality == "good"  # only where it is far off everywhere
    few = CalibFolder(tmp_path).entries()[:1]
    (tmp_path / "calib.yaml").unlink()
    add_calibration(tmp_path, few[0])
    doubtful = add(tmp_path, replace(first, calib=first.calib * 0.1), "clouds")
    assert (doubtful.quality, doubtful.comment) == ("provisional", "its response is 0.1 to 0.1 times that of first.fits at every wavelength")
    with pytest.raises(BadData, match=r"its response is 900 to 900 times that of first\.fits; is it in another unit"):
        add(tmp_path, replace(first, calib=first.calib * 900), "unit")
    assert add(tmp_path, calibs_made.fluxcal_per_fibre(), "exposure").quality == "good"  # it holds the exposure time: not to be compared


def test_checksums_are_written_where_there_are_none(tmp_path: Path) -> None:
    """Each entry keeps its place, the comments stay, and what is damaged, bad or has one is left as it is."""
    for name in ("a", "b", "c", "d"):
        write_calibration(calibs_made.dark(), tmp_path / f"{name}.fits", sync=False)
    (tmp_path / "b.fits").write_bytes(b"torn")
    text = """# kept
calibrations:
  - {kind: dark, path: a.fits, camera: r0}  # by hand
  - kind: dark
    path: b.fits
  - kind: dark
    path: c.fits   # of summer

  # the next is bad
  - {kind: dark, path: d.fits, quality: bad}
"""
    (tmp_path / "calib.yaml").write_text(text)
    written = write_checksums(tmp_path, take_census(open_index(tmp_path), tmp_path))
    assert [e.path for e in written] == ["a.fits", "c.fits"]
    entries = CalibFolder(tmp_path).entries()
    assert [(e.path, bool(e.sha256)) for e in entries] == [("a.fits", True), ("b.fits", False), ("c.fits", True), ("d.fits", False)]
    now = (tmp_path / "calib.yaml").read_text()
    assert all(words in now for words in ("# kept", "# by hand", "# of summer", "# the next is bad"))
    assert write_checksums(tmp_path, take_census(open_index(tmp_path), tmp_path)) == []
    raw = bytearray((tmp_path / "a.fits").read_bytes())
    raw[2880 * 3] ^= 1
    (tmp_path / "a.fits").write_bytes(raw)
    assert "its checksum differs" in take_census(open_index(tmp_path), tmp_path).checks[0].wrong


@pytest.mark.parametrize(
    ("kind", "factor", "offset", "words"),
    [
        ("bias", 1.0, 6e4, r"its median is 6e\+04 ADU"), ("dark", 1e6, 0.0, "is it in ADU, or of a whole exposure"),
        ("pixflat", 1e4, 0.0, r"the median of its pixels is 1e\+04"), ("fluxcal", -1.0, 0.0, "only 0 % of its samples are positive"),
    ],
)  # fmt: skip
def test_one_without_a_checksum_is_looked_at_when_it_is_used(tmp_path: Path, kind: str, factor: float, offset: float, words: str) -> None:
    product = calibs_made.MAKERS[kind]()
    name = "calib" if kind == "fluxcal" else "pixels"
    assert glance(product) == []
    changed = replace(product, **{name: (getattr(product, name) * factor + offset).astype(np.float32)})  # type: ignore[type-var]
    path = write_calibration(changed, tmp_path / "x.fits", sync=False)
    with pytest.raises(MissingCalibration, match=f"{kind} .*x.fits cannot be used: .*{words}"):
        load_calibration(path, type(product), {})
