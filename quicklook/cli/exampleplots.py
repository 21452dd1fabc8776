"""An example plot of each QA, from simulated exposures: made by a command, for the pages of the reference."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.api import Session, open_session
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.builder import load_builder
from quicklook.core.calibration import NoCalibrations
from quicklook.core.errors import QuicklookError
from quicklook.core.group import GroupRunner, Member
from quicklook.core.hkframes import QA_NAME, ChannelDuring, Excursion, ExposureHousekeeping
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey, Unit
from quicklook.core.plots import Plot
from quicklook.core.reading import Reading
from quicklook.core.results import QAResult
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.core.unitparts import UnitParts
from quicklook.core.unitqa import measure_unit, with_unit_qa
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.configfiles import find_config
from quicklook.io.plotfiles import save_plots
from quicklook.io.smallpng import palette_png
from quicklook.service.rerun.redraw import redraw
from quicklook.service.sessions.coadding import PROVIDES, levels_of
from quicklook.sim import Flavor, SimInstrument, plan_exposure, sim_instruments, write_calibrations, write_exposure
from quicklook.sim.bench import Bench, make_ccd
from quicklook.sim.benchplan import BenchExposure, Mishaps
from quicklook.sim.calibrations import spectral_grid
from quicklook.sim.fitsfiles import empty_hdu, image_hdu, publish, write_hdus
from quicklook.sim.slit import SlitExposure, SlitFlavor, write_slit
from quicklook.sim.targets import target_continuum, targets_of

log = logging.getLogger("quicklook.reference")

MAX_BYTES = 60_000
"""Of a picture: they are kept with the code."""
_DPI = (80.0, 72.0, 64.0, 56.0, 48.0, 40.0, 32.0)
_CAMERAS = ("b0", "r0", "z0", *(f"r{n}" for n in range(1, 10)))
"""All arms of one spectrograph and one arm of all: what QAs of a whole exposure compare."""
_MEASURED = "r0"
_UNIT = Unit(20220101, 41)
_NIGHT: tuple[tuple[Flavor, tuple[int, ...]], ...] = (
    ("zero", (1, 2, 3, 4, 5)), ("dark", (11, 12, 13, 14)), ("arc", (21,)), ("flat", (31, 32, 33, 34, 35)), ("science", (41,)),
)  # fmt: skip
_BUILDERS: tuple[tuple[str, tuple[Flavor, ...]], ...] = (
    ("bias", ("zero",)), ("dark", ("dark",)), ("mask", ("zero", "dark")), ("ptc", ("flat",)), ("traces", ("flat",)), ("pixflat", ("flat",)),
    ("psf", ("arc",)), ("fiberflat", ("flat",)), ("refarc", ("arc",)), ("refflat", ("flat",)),
    ("fluxcal", ("science",)),
)  # fmt: skip
_SLIT_CAMERA, _BENCH_CAMERA = "blue", "ROE1_CCD1"
_SLIT_BUILDERS: tuple[tuple[str, SlitFlavor, int], ...] = (("traces", "flat", 3), ("psf", "arc", 1), ("slit-fiberflat", "flat", 3))
_ENTERED = ("traces", "refarc", "refflat")


def draw_examples(wanted: Mapping[str, Path], *, seed: int = 5) -> Iterator[tuple[str, Path | None]]:
    """Simulate a small night, measure it, and draw one plot of each QA that is wanted to its path (PNG, at most `MAX_BYTES`).

    Yields the name of each QA and the picture; None where it has made no plot of these exposures. Takes a minute or two.
    """
    with tempfile.TemporaryDirectory(prefix="quicklook-examples-") as name:
        folder = Path(name)
        found: dict[str, tuple[Plot, Status | None]] = {}
        for qa, plot in _measured(folder, seed):
            found.setdefault(qa.name, (plot, qa.status))
        for qa_name, target in wanted.items():
            yield qa_name, _draw(folder, *found[qa_name], target) if qa_name in found else None


def _measured(folder: Path, seed: int) -> Iterator[tuple[QAResult, Plot]]:
    """The QAs that have plots, each with its first one: of the chains and the whole exposure, then of the builders."""
    instruments = sim_instruments(_CAMERAS, scale="small", seed=seed)
    write_calibrations(folder, instruments)
    one = [i for i in instruments if i.camera == _MEASURED]
    files: dict[Flavor, list[Path]] = {}
    for flavor, expids in _NIGHT:
        files[flavor] = [write_exposure(folder, plan_exposure(flavor, n), instruments if flavor == "science" else one) for n in expids]
    _write_stars(folder, one[0])
    session = open_session(instrument="desi", calib=folder / "calib", out=folder / "out")
    built = list(_built(session, files))
    for flavor in ("science", "arc", "flat", "dark", "zero"):
        yield from _of_exposure(session, files[flavor][0], flavor)
    for outcome in built:
        yield from outcome
    yield from _of_coadd(session, [write_exposure(folder, plan_exposure("science", n), one) for n in (51, 52, 53)])
    yield from _of_slit(folder / "slit", seed)
    yield from _of_bench(folder / "bench", seed)
    yield from _of_book(folder / "book")
    yield from _of_telemetry(session)


def _of_telemetry(session: Session) -> Iterator[tuple[QAResult, Plot]]:
    """Of channels during an exposure of 900 s, in which one CCD warms up and a voltage has a gap."""
    times, rng = np.arange(0.0, 900.0, 5.0), np.random.default_rng(1)
    warm = -120 + np.clip((times - 300) / 60, 0, 4)
    out = Excursion(limit="ccd_temperature", severity=Severity.ALARM, bound=-119.0, value=-116.0, text="too warm", since=0.0, overlap=0.6)
    drain = np.where((times > 400) & (times < 480), np.nan, 26 + rng.normal(0, 0.004, times.size))
    made = (
        ("CCD2_TEMP", "degC", warm + rng.normal(0, 0.03, times.size), (out,)),
        ("CCD1_TEMP", "degC", -120 + rng.normal(0, 0.03, times.size), ()),
        ("CCD1_OD", "V", drain, ()),
        ("wind_speed", "km/h", 20 + rng.normal(0, 3, times.size), ()),
    )
    about: dict[str, Any] = {"samples": times.size, "away_s": 0.0, "judged": True, "times": times}
    channels = tuple(ChannelDuring(channel=name, unit=unit, values=values, out=bad, **about) for name, unit, values, bad in made)
    during = ExposureHousekeeping(start=datetime(2022, 1, 2, 3, tzinfo=UTC), exptime_s=900.0, channels=channels)
    chain = with_unit_qa(replace(session.site.chain("zero"), unit_qas=()), QA_NAME)
    whole = measure_unit(chain, UnitParts(unit=_UNIT), Judge(session.site.limits()), time.perf_counter, (during,))
    yield from _pairs(whole.qas, whole.plots)


def _of_book(folder: Path) -> Iterator[tuple[QAResult, Plot]]:
    """Of an observation book of two streams in which one file is absent and one does not belong."""
    name, streams = "obs_1660900000_satp1_0000011", ("ufm_mv9", "ufm_mv6")
    index = {
        "book_id": name, "type": "obs", "subtype": "cmb", "telescope": "satp1", "tube_slot": "st1", "tags": [], "wafer_slots": ["ws0", "ws1"],
        "start_time": 1660900000.5, "stop_time": 1660900009.5, "n_samples": 300, "stream_ids": list(streams),
        "detsets": ["mv9", "mv6"], "sample_ranges": [[0, 100], [100, 200], [200, 300]],
    }  # fmt: skip
    book = folder / "obs" / name[4:9] / name
    book.mkdir(parents=True)
    there = [*(f"D_{s}_{n:03d}.g3" for s in streams for n in range(3)), *(f"A_ancil_{n:03d}.g3" for n in range(3)), "M_book.yaml", "core.1234"]
    for file in there:
        if file != "D_ufm_mv6_002.g3":
            (book / file).write_bytes(b"frames")
    path = book / "M_index.yaml"
    path.write_text(json.dumps(index), encoding="utf-8")
    session = open_session(instrument="so_book", out=folder / "out")
    peek = session.peek(path)
    outcome = session.process(session.site.chain_name(peek.flavor), path, peek.cameras[0]).outcome
    yield from _pairs(outcome.result.qas, outcome.plots)


def _of_coadd(session: Session, files: Sequence[Path]) -> Iterator[tuple[QAResult, Plot]]:
    """Of science exposures of one camera, added up."""

    def read(path: Path) -> Reading:
        done = session.process("science", path, _MEASURED).outcome
        frame, exposure, sky = done[Frame], done[Exposure], done[SkyModel]
        assert isinstance(frame, Frame)
        assert isinstance(exposure, Exposure)
        assert isinstance(sky, SkyModel)
        return Reading(products=(frame, exposure, levels_of(sky.flux, sky.wave, frame, exposure.exptime)), tags=done.result.tags)

    builder = load_builder(find_config("coadds", "night"), provides=PROVIDES)
    runner = GroupRunner(builder=builder, judge=Judge(session.site.limits()), calibrations=NoCalibrations(), clock=time.perf_counter)
    members = [Member(key=PartKey(session.peek(p).unit, _MEASURED), read=partial(read, p), flavor="science") for p in files]
    outcome = runner.run(members).outcome
    yield from _pairs(outcome.result.qas, outcome.plots)


def _of_bench(folder: Path, seed: int) -> Iterator[tuple[QAResult, Plot]]:
    """Of the groups of a test bench: zeros and flats of one CCD."""
    ccd = make_ccd(_BENCH_CAMERA, "SIM-01", seed=seed, scale="small")
    bench = Bench(folder=folder, ccds=[ccd], mishaps=Mishaps())
    session = open_session(instrument="vis_bench", calib=folder / "calib", out=folder / "out")
    for first, builder, exptime in ((1, "zeros", 0.0), (11, "flats", 20.0)):
        flavor, start = "flat" if exptime else "zero", datetime(2016, 11, 25, 9, first, tzinfo=UTC)
        same: dict[str, Any] = {"test": "TEST", "flavor": flavor, "exptime": exptime, "wavelength": 0.0}
        taken = [BenchExposure(obsid=first + k, position=k + 1, start=start + timedelta(minutes=k), **same) for k in range(5)]
        group = session.build(builder, [p for e in taken for p in bench.write(e)], _BENCH_CAMERA).group
        yield from _pairs(group.outcome.result.qas, group.outcome.plots)


def _of_slit(folder: Path, seed: int) -> Iterator[tuple[QAResult, Plot]]:
    """Of a science exposure of a long slit; what its chain needs is built first."""
    session = open_session(instrument="kast_blue", calib=folder / "calib", out=folder / "out")
    for builder, flavor, number in _SLIT_BUILDERS:
        made = session.build(builder, [write_slit(folder, SlitExposure(flavor=flavor, number=number, seed=seed))], _SLIT_CAMERA)
        session.write_built(made)
    science = SlitExposure(flavor="science", number=24, seed=seed, flexure=0.2, moved=0.4)
    outcome = session.process("slit-science", write_slit(folder, science), _SLIT_CAMERA).outcome
    yield from _pairs(outcome.result.qas, outcome.plots)


def _write_stars(folder: Path, camera: SimInstrument) -> None:
    """The true spectra of the standard stars of the science exposures, as DESI's file of stars, entered into the index for one that fits to them."""
    targets = targets_of(camera, plan_exposure("science", _UNIT.expid).tileid)
    stars = targets.kind == "STD"
    wave = spectral_grid(camera)
    flux = target_continuum(targets, np.broadcast_to(wave, (len(targets.fiber), len(wave))))[stars]
    path = folder / "calib" / "stdstars.fits"
    arrays = {"WAVELENGTH": wave, "FLUX": flux, "FIBERS": targets.fiber[stars]}
    publish(path, lambda hidden: write_hdus(hidden, [empty_hdu(()), *(image_hdu(name, np.ascontiguousarray(a)) for name, a in arrays.items())]))
    entry = CalibEntry(kind="stdstar", path=str(path), instrument=("desi",), camera=(camera.camera,))
    add_calibration(folder / "calib", entry, unchecked=True)


def _of_exposure(session: Session, path: Path, flavor: str) -> Iterator[tuple[QAResult, Plot]]:
    peek, started = session.peek(path), time.time_ns()
    done = [session.process(flavor, path, camera) for camera in peek.cameras]
    mine = next(d for d in done if d.key.part == _MEASURED)
    yield from _pairs(mine.outcome.result.qas, mine.outcome.plots)
    concluded = session.conclude(peek, done, started, expected=peek.cameras)
    yield from _pairs(concluded.verdict.qas, concluded.plots)


def _built(session: Session, files: Mapping[Flavor, Sequence[Path]]) -> Iterator[list[tuple[QAResult, Plot]]]:
    """Of the builders; what later builders and the chains need is entered into the index."""
    for name, flavors in _BUILDERS:
        try:
            made = session.build(name, [p for f in flavors for p in files[f]], _MEASURED)
            if name in _ENTERED:
                session.write_built(made)
        except QuicklookError as error:
            log.warning("builder %s gives no example: %s", name, error)
            continue
        yield list(_pairs(made.group.outcome.result.qas, made.group.outcome.plots))


def _pairs(qas: Sequence[QAResult], plots: Sequence[Plot]) -> Iterator[tuple[QAResult, Plot]]:
    by_name = {p.name: p for p in plots}
    for qa in qas:
        own = [by_name[name] for name in qa.plots if name in by_name]
        if own:
            yield qa, next((p for p in own if p.name == qa.name), own[0])


def _draw(folder: Path, plot: Plot, status: Status | None, target: Path) -> Path:
    """Draw at the finest resolution that keeps the picture small enough."""
    data = folder / "drawn" / f"plots-{plot.name}.npz"
    data.parent.mkdir(exist_ok=True)
    save_plots(data, [replace(plot, name="example")])
    picture = b""
    for dpi in _DPI:
        (drawn,) = redraw(folder, data, PartKey(_UNIT, _MEASURED), "example", 0, {"example": status}, dpi=dpi)
        picture = palette_png(_pixels(drawn))
        if len(picture) <= MAX_BYTES:
            break
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(picture)
    return target


def _pixels(path: Path) -> npt.NDArray[np.uint8]:
    """Red, green and blue of a picture, uint8 [ny, nx, 3]."""
    from matplotlib.image import imread

    return np.asarray(np.round(imread(path)[..., :3] * 255.0), np.uint8)
