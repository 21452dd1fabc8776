"""Building of calibrations from raw files, and what is written."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from bench_site import bench_site, write_frame

from quicklook.ccd.calibs import Bias
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.status import Status
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibstore import FolderStore
from quicklook.service.calibrating.building import Building, Built, Prefetched, cameras_of, numbers
from quicklook.service.calibrating.builtfiles import left_out_words, reserved, write_built
from quicklook.service.calibrating.origin import last_night
from quicklook.service.site import Site, load_site

BUILDER = """
builder: bias
flavor: zero
at_least: 3
member:
  - {name: read, qas: [dead_amp, read_noise]}
group:
  - {name: master_bias, qas: [bias_structure]}
product: bias
valid_days: 3
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return bench_site(tmp_path, calib=str(tmp_path / "calib"))


def build(site: Site, folder: Path, files: list[Path], text: str = BUILDER, threads: int = 2) -> Built:
    (folder / "bias.yaml").write_text(text)
    building = Building.of(site, threads=threads)
    exposures = building.gather(files)
    return building.build(site.builder(str(folder / "bias.yaml")), exposures, cameras_of(exposures, [])[0])


# ---- sequences


def test_items_are_loaded_ahead_and_come_in_order() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def load(i: int) -> int:
        with lock:
            started.append(i)
        time.sleep(0.005)
        return i

    items = Prefetched([lambda i=i: load(i) for i in range(9)])  # type: ignore[misc]
    assert list(items) == list(items) == list(range(9))
    assert items[4] == 4
    assert list(items[3:5]) == [3, 4]
    started.clear()
    one = iter(items)
    assert next(one) == 0
    time.sleep(0.1)
    assert started == [0, 1, 2]  # two ahead, and no more
    one.close()  # type: ignore[attr-defined]


def test_few_items_come_too() -> None:
    for n in range(4):
        assert list(Prefetched([lambda i=i: i for i in range(n)])) == list(range(n))  # type: ignore[misc]


def test_a_loader_that_fails_is_heard() -> None:
    def broken() -> int:
        raise BadData("it is torn")

    with pytest.raises(BadData, match="torn"):
        list(Prefetched([lambda: 1, broken, lambda: 2]))


# ---- numbers


@pytest.mark.parametrize(
    ("text", "wanted"), [("14-18,20", [14, 15, 16, 17, 18, 20]), ("7", [7]), (" 3 , 2-3", [3, 2]), ("5-5", [5])]
)
def test_ranges(text: str, wanted: list[int]) -> None:
    assert numbers(text) == wanted


@pytest.mark.parametrize("text", ["", ",", "a", "5-", "-5", "9-3", "1-2-3", "1.5", "0-999999999", "1" * 60, "１-３x"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(BadConfig, match="14-18,20|no calibration|more exposures"):
        numbers(text)


def test_nights() -> None:
    assert last_night(20211230, 3) == 20220101
    assert last_night(20220101, 1) == 20220101
    assert last_night(20220101, None) is None


# ---- building


def test_files_make_a_calibration(site: Site, tmp_path: Path) -> None:
    files = [write_frame(tmp_path, "a", i) for i in range(1, 6)]
    built = build(site, tmp_path, files)
    assert (built.status, built.quality, built.made_from, built.night) == (Status.NORMAL, "good", (1, 2, 3, 4, 5), 20220101)
    frames = np.stack([fits.getdata(p).astype(float) for p in files])
    levels = np.mean([f[:, 67:93].mean() for f in frames])
    assert np.mean(built.products["bias"].pixels[:, :64]) == pytest.approx(frames[:, :, :64].mean() - levels, abs=0.05)  # type: ignore[attr-defined]


def test_one_thread_and_two_give_the_same(site: Site, tmp_path: Path) -> None:
    files = [write_frame(tmp_path, "a", i) for i in range(1, 6)]
    one, two = (build(site, tmp_path, files, threads=n).products["bias"] for n in (1, 2))
    assert isinstance(one, Bias)
    assert isinstance(two, Bias)
    np.testing.assert_array_equal(one.pixels, two.pixels)


def _with_light(path: Path) -> Path:
    """Light on a quarter of the data: each zero is in order by itself, and this one is not like the others."""
    with fits.open(path) as f:
        pixels, header = f[0].data.copy(), f[0].header
    pixels[32:64, :32] += 40
    fits.writeto(path, pixels, header, overwrite=True)
    return path


def test_what_the_algorithm_leaves_out_is_not_what_it_was_made_from(site: Site, tmp_path: Path) -> None:
    files = [write_frame(tmp_path, "a", i) for i in range(1, 7)]
    _with_light(files[2])
    built = build(site, tmp_path, files, BUILDER.replace(", read_noise", ""))
    assert built.made_from == (1, 2, 4, 5, 6)
    left = next(m for m in built.members if not m.taken)
    assert (left.expid, left.status) == (3, Status.NORMAL)
    assert "differs from the others by" in left.reasons[0]
    assert "was left out (NORMAL): differs from the others by" in left_out_words(built.members)[0]
    written = write_built(built, tmp_path / "calib", plots=False)
    assert (written.entries[0].made_from, written.entries[0].comment) == ((1, 2, 4, 5, 6), "left out, though in order by themselves: 3")
    record = json.loads(written.result.read_text())
    assert (record["made_from"], record["nights"]) == ([1, 2, 4, 5, 6], [20220101])
    with fits.open(written.calibrations["bias"]) as f:
        assert [f[0].header[f"MADE{i:02d}"] for i in range(5)] == [1, 2, 4, 5, 6]
        assert (f[0].header["NMADE"], "NIGHTS" in f[0].header) == (5, False)


def test_exposures_of_several_nights_are_said_to_be(site: Site, tmp_path: Path) -> None:
    files = [write_frame(tmp_path, "a", i) for i in range(1, 5)]
    files[3] = files[3].rename(files[3].with_name(files[3].name.replace("20220101_0004", "20220102_0001")))
    with fits.open(files[3], mode="update") as f:
        f[0].header["EXPID"] = 1
    built = build(site, tmp_path, files)
    written = write_built(built, tmp_path / "calib", plots=False)
    assert written.entries[0].made_from == ("20220101/1", "20220101/2", "20220101/3", "20220102/1")
    assert written.entries[0].comment == "made from exposures of 2 nights (20220101, 20220102)"
    record = json.loads(written.result.read_text())
    assert (record["nights"], record["remarks"]) == ([20220101, 20220102], [written.entries[0].comment])
    with fits.open(written.calibrations["bias"]) as f:
        assert f[0].header["NIGHTS"] == "20220101,20220102"


def test_what_is_not_in_order_is_left_out_and_named(site: Site, tmp_path: Path) -> None:
    files = [write_frame(tmp_path, "a", i) for i in range(1, 5)]
    files.append(write_frame(tmp_path, "a", 5, flavor="arc"))
    dead = write_frame(tmp_path, "a", 6)
    fits.PrimaryHDU(np.full((96, 96), 5, np.int16), fits.getheader(dead)).writeto(dead, overwrite=True)
    torn = write_frame(tmp_path, "a", 7)
    torn.write_bytes(torn.read_bytes()[:4000])
    built = build(site, tmp_path, [*files, dead, torn])
    assert built.made_from == (1, 2, 3, 4)
    words = left_out_words(built.members)
    assert len(words) == 3
    assert any("_0005_a.fits was left out (not looked at): its flavor is arc, not zero" in w for w in words)
    assert any("_0006_a.fits was left out (ALARM)" in w for w in words)
    assert any("_0007_a.fits was left out (not looked at)" in w and "truncated" in w for w in words)


def test_too_few_make_none(site: Site, tmp_path: Path) -> None:
    built = build(site, tmp_path, [write_frame(tmp_path, "a", i) for i in range(1, 3)])
    assert (built.status, built.quality, built.products) == (Status.UNKNOWN, "bad", {})
    assert "made from 3 good exposures (zero) at least; 2 of 2 are" in built.group.outcome.result.reasons[0]
    written = write_built(built, tmp_path / "calib", plots=False)
    assert written.calibrations == {}
    assert json.loads(written.result.read_text())["quality"] == "bad"
    assert not (tmp_path / "calib" / "calib.yaml").exists()


def test_all_cameras_or_those_that_are_named(site: Site, tmp_path: Path) -> None:
    exposures = Building.of(site).gather([write_frame(tmp_path, c, i) for c in "ba" for i in (1, 2)])
    assert cameras_of(exposures, []) == ["a", "b"]
    assert cameras_of(exposures, ["b"]) == ["b"]
    with pytest.raises(BadConfig, match="no file has camera c; there are: a, b"):
        cameras_of(exposures, ["a", "c"])
    with pytest.raises(BadConfig, match="no file has camera of this instrument"):
        cameras_of(Building.of(site).gather([]), [])


def test_exposures_are_found_by_number(site: Site, tmp_path: Path) -> None:
    files = [write_frame(tmp_path, "a", i) for i in (1, 2, 3)]
    building = Building.of(site)
    assert building.find(site.raw, [1, 3], 20220101) == [files[0], files[2]]
    with pytest.raises(BadConfig, match="no exposure 9 of night 20220101 under"):
        building.find(site.raw, [1, 9], 20220101)


def test_the_night_is_that_of_the_header_where_the_name_has_none(tmp_path: Path) -> None:
    bench_site(tmp_path)
    (tmp_path / "bench.yaml").write_text((tmp_path / "bench.yaml").read_text().replace("{night:8d}_{expid:4d}_{camera}", "{camera}{expid:d}"))
    site = load_site(None, options={"instrument": str(tmp_path / "bench.yaml"), "raw": str(tmp_path / "raw")})
    for folder, night in (("x", 20220101), ("y", 20220103)):
        (tmp_path / "raw" / folder).mkdir()
        header = fits.Header({"FLAVOR": "zero", "NIGHT": night})
        fits.PrimaryHDU(np.zeros((96, 96), np.int16), header).writeto(tmp_path / "raw" / folder / "a7.fits")
    building = Building.of(site)
    assert building.find(site.raw, [7], 20220103) == [tmp_path / "raw" / "y" / "a7.fits"]
    assert len(building.find(site.raw, [7], None)) == 2
    with pytest.raises(BadConfig, match="no exposure 7 of night 20220102"):
        building.find(site.raw, [7], 20220102)


# ---- files


def test_calibration_result_plots_and_entry(site: Site, tmp_path: Path) -> None:
    built = build(site, tmp_path, [write_frame(tmp_path, "a", i) for i in range(3, 7)])
    calib = tmp_path / "calib"
    written = write_built(built, calib)
    assert written.calibrations == {"bias": calib / "bias-a-20220101-00000003.fits"}
    header = fits.getheader(written.calibrations["bias"])
    assert (header["NMADE"], header["MADE00"], header["MADE03"], header["QUALITY"], header["CAMERA"]) == (4, 3, 6, "good", "a")
    entry = FolderStore(calib).entries()[0]
    assert (entry.kind, entry.camera, entry.valid_from, entry.valid_to, entry.night) == ("bias", ("a",), 20220101, 20220103, 20220101)
    assert (entry.made_from, entry.quality, entry.path) == ((3, 4, 5, 6), "good", "bias-a-20220101-00000003.fits")
    record = json.loads((calib / "calib-bias-a-20220101-00000003.json").read_text())
    assert record["made_from"] == [3, 4, 5, 6]
    assert record["result"]["status"] == "NORMAL"
    assert [m["expid"] for m in record["members"]] == [3, 4, 5, 6]
    assert (calib / "plots" / "bias-a-20220101-00000003" / "bias_structure-a-00000003.png").stat().st_size > 1000


def test_what_was_made_is_used_by_the_next_build(site: Site, tmp_path: Path) -> None:
    files = [write_frame(tmp_path, "a", i) for i in range(3, 7)]
    write_built(build(site, tmp_path, files), tmp_path / "calib", plots=False)
    with_preproc = BUILDER.replace("read_noise]}\n", "read_noise]}\n  - {name: preproc}\n")
    used = build(site, tmp_path, files, with_preproc).group.outcome.result.provenance.calibrations
    assert [(c.kind, c.chosen_as) for c in used] == [("bias", "night")]


@pytest.mark.parametrize(("params", "without"), [("", "bias, dark, mask, pixflat"), (', params: {use_dark: "no", use_mask: "no"}', "bias, pixflat")])
def test_what_it_was_made_without_is_told_with_what_to_do(site: Site, tmp_path: Path, params: str, without: str) -> None:
    files = [write_frame(tmp_path, "a", i) for i in range(3, 7)]
    with_preproc = BUILDER.replace("read_noise]}\n", f"read_noise]}}\n  - {{name: preproc{params}}}\n")
    built = build(site, tmp_path, files, with_preproc)
    assert (built.status, ", ".join(built.made_without)) == (Status.NORMAL, without)
    told = built.group.outcome.result.reasons
    assert len(told) == 1
    assert told[0].startswith(f"made without {without}: ")
    assert "`quicklook calib build bias --camera a` makes one" in told[0]
    assert write_built(built, tmp_path / "calib", plots=False).entries[0].comment == f"made without {without}"
    again = build(site, tmp_path, files, with_preproc)  # with the bias that it has made
    assert "bias" not in again.made_without
    assert again.group.outcome.result.reasons == []


def test_an_earlier_file_is_never_overwritten(site: Site, tmp_path: Path) -> None:
    built = build(site, tmp_path, [write_frame(tmp_path, "a", i) for i in range(3, 7)])
    calib = tmp_path / "calib"
    first, second = (write_built(built, calib, plots=False).calibrations["bias"] for _ in range(2))
    assert (first.name, second.name) == ("bias-a-20220101-00000003.fits", "bias-a-20220101-00000003-2.fits")
    assert len(FolderStore(calib).entries()) == 2


def test_nor_are_its_result_and_its_plots(site: Site, tmp_path: Path) -> None:
    calib = tmp_path / "calib"
    for files in ([3, 4, 5], [3, 4, 5, 6]):
        write_built(build(site, tmp_path, [write_frame(tmp_path, "a", i) for i in files]), calib)
    name = "bias-a-20220101-00000003"
    results = [json.loads((calib / f"calib-{name}{again}.json").read_text()) for again in ("", "-2")]
    assert [(r["made_from"], r["files"]) for r in results] == [([3, 4, 5], {"bias": f"{name}.fits"}), ([3, 4, 5, 6], {"bias": f"{name}-2.fits"})]
    assert sorted(p.name for p in (calib / "plots").iterdir()) == [name, f"{name}-2"]


def test_two_writers_never_have_the_same_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.fits"
    with reserved(path) as one, reserved(path) as two:
        assert (one.name, two.name) == ("a.fits", "a-2.fits")
        one.write_bytes(b"x")
        two.write_bytes(b"y")
    with pytest.raises(BadData), reserved(path) as three:
        raise BadData("nothing was written")
    assert three.name == "a-3.fits"
    assert sorted(p.name for p in path.parent.iterdir()) == ["a-2.fits", "a.fits"]


def test_only_what_is_asked_for_is_entered(site: Site, tmp_path: Path) -> None:
    built = build(site, tmp_path, [write_frame(tmp_path, "a", i) for i in range(3, 7)])
    assert write_built(built, tmp_path / "calib", add=False, plots=False).entries == ()
    assert write_built(built, tmp_path / "calib", add={"dark"}, plots=False).entries == ()
    assert not (tmp_path / "calib" / "calib.yaml").exists()
    entries: tuple[CalibEntry, ...] = write_built(built, tmp_path / "calib", add={"bias"}, plots=False).entries
    assert [e.kind for e in entries] == ["bias"]


def test_a_bad_one_is_entered_and_never_chosen(site: Site, tmp_path: Path) -> None:
    limits = tmp_path / "limits.yaml"
    limits.write_text("limits:\n  - {metric: bias_noise_ratio, unit: '', normal: [5, 6], reason: a test, action: nothing}\n")
    strict = bench_site(tmp_path, calib=str(tmp_path / "calib"), limits=["default", str(limits)])
    files = [write_frame(tmp_path, "a", i) for i in range(3, 7)]
    built = build(strict, tmp_path, files)
    assert (built.status, built.quality) == (Status.ALARM, "bad")
    write_built(built, tmp_path / "calib", plots=False)
    assert FolderStore(tmp_path / "calib").entries()[0].quality == "bad"
    with_preproc = BUILDER.replace("read_noise]}\n", "read_noise]}\n  - {name: preproc}\n")
    assert build(site, tmp_path, files, with_preproc).group.outcome.result.provenance.calibrations == []
