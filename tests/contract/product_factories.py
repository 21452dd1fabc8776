"""One of every product type, made from the simulator at its tiny scale, good and bad ones.

A new product type needs a line in `FACTORIES`; the contract suite says so when it meets a type that has none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import coadd_factories
import lamp_factories
import numpy as np
import shift_factories
import slit_factories
import spectra_factories
import trace_factories
import unit_factories

from quicklook.ccd.book import Book
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, KnownFibers, PixelFlat
from quicklook.ccd.exposure import Arrival, Companion, Exposure, FiberMap
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Header, Image, RawImage
from quicklook.ccd.mask import PixelMask
from quicklook.core.calibration import Absence, CalibrationsUsed, CalibrationUsed
from quicklook.core.contract import Requirement, contract_of
from quicklook.core.group import Streamed
from quicklook.core.keys import Unit
from quicklook.core.plugin import Plugin
from quicklook.core.product import Product
from quicklook.sim import Fault, SimInstrument, SimulatedCamera, plan_exposure, simulate_exposure

GROUP_SIZE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A situation in which plugins are tried: a flavor, what is wrong with the detector, and what is done to the raw image."""

    name: str
    flavor: str = "zero"
    faults: tuple[str, ...] = ()
    change: Callable[[RawImage], RawImage] | None = None


def _without_overscan(raw: RawImage) -> RawImage:
    bare = tuple(replace(a, overscan=None, prescan=None, parallel_overscan=None, read_noise=None, saturation=None) for a in raw.amplifiers)
    return replace(raw, amplifiers=bare)


def _one_amplifier(raw: RawImage) -> RawImage:
    first = raw.amplifiers[0]
    ny, nx = first.data.shape
    return replace(raw, amplifiers=(replace(first, ccd=Section(0, ny, 0, nx)),))


def _float(raw: RawImage, value: float) -> RawImage:
    pixels = raw.pixels.astype(np.float32)
    pixels[raw.amplifiers[0].data.slices] = value
    if (overscan := raw.amplifiers[0].overscan) is not None:
        pixels[overscan.slices] = value
    return replace(raw, pixels=pixels)


def _constant(raw: RawImage) -> RawImage:
    return replace(raw, pixels=np.full(raw.shape, 1005, np.uint16))


CASES = (
    Case(name="zero"),
    Case(name="science", flavor="science"),
    Case(name="arc", flavor="arc"),
    Case(name="dead amplifier", faults=("dead_amp",)),
    Case(name="all at 65535", faults=("saturated_amp",)),
    Case(name="bright fibres", flavor="flat", faults=("saturated",)),
    Case(name="no overscan", change=_without_overscan),
    Case(name="one amplifier", change=_one_amplifier),
    Case(name="NaN in an amplifier", change=lambda raw: _float(raw, np.nan)),
    Case(name="infinite in an amplifier", change=lambda raw: _float(raw, np.inf)),
    Case(name="constant", change=_constant),
)
GOOD = CASES[0]

INSTRUMENT = SimInstrument(camera="r0", scale="tiny", seed=11)


@functools.cache
def _simulated(case: Case, number: int) -> SimulatedCamera:
    planned = plan_exposure(case.flavor, 100 + number, faults=[Fault(name=f) for f in case.faults])  # type: ignore[arg-type]
    return simulate_exposure(INSTRUMENT, planned)


def _amplifiers(sim: SimulatedCamera) -> tuple[Amplifier, ...]:
    """From the header cards, as the simulator wrote them."""
    header = sim.header

    def section(key: str) -> Section | None:
        return Section.parse(str(header[key])) if key in header else None

    made = []
    for name in INSTRUMENT.amp_names:
        data, ccd = section(f"DATASEC{name}"), section(f"CCDSEC{name}")
        assert data is not None
        assert ccd is not None
        made.append(
            Amplifier(
                name=name,
                data=data,
                ccd=ccd,
                overscan=section(f"BIASSEC{name}"),
                prescan=section(f"PRESEC{name}"),
                parallel_overscan=section(f"ORSEC{name}"),
                gain=float(header[f"GAIN{name}"]),
                read_noise=float(header[f"RDNOISE{name}"]),
                saturation=65535.0,
            )
        )
    return tuple(made)


def raw_image(case: Case, number: int) -> RawImage:
    sim = _simulated(case, number)
    raw = RawImage(camera="r0", pixels=sim.raw.copy(), amplifiers=_amplifiers(sim), header=Header(sim.header))
    return case.change(raw) if case.change else raw


def image(case: Case, number: int) -> Image:
    """A plain preprocessing: median overscan and gain, nothing else."""
    raw = raw_image(case, number)
    pixels, mask = np.zeros(raw.image_shape, np.float32), np.zeros(raw.image_shape, np.uint16)
    ivar, noise = np.zeros_like(pixels), {}
    for amp in raw.amplifiers:
        data = raw.pixels[amp.data.slices].astype(np.float64)
        over = raw.pixels[amp.overscan.slices].astype(np.float64) if amp.overscan else np.array([1000.0])
        over = over if np.isfinite(over).all() else np.full(1, np.nan)
        electrons = (data - np.median(over)) * amp.gain
        good = np.isfinite(electrons)
        noise[amp.name] = float(np.std(over) * amp.gain) if over.size > 1 and over.std() > 0 else float("nan")
        alive = good & np.isfinite(noise[amp.name])
        pixels[amp.ccd.slices] = np.where(good, electrons, 0.0)
        variance = np.maximum(np.where(good, electrons, 0.0), 0.0) + np.nan_to_num(noise[amp.name]) ** 2
        ivar[amp.ccd.slices] = np.where(alive, 1.0 / np.where(alive, variance, 1.0), 0.0)
        mask[amp.ccd.slices] = np.where(good, 0, PixelMask.NONFINITE) | np.where(alive, 0, PixelMask.BADAMP)
    return Image(
        camera="r0", pixels=pixels, ivar=ivar, mask=mask, amplifiers=raw.amplifiers, read_noise=noise, overscan_level=dict.fromkeys(noise, 1000.0)
    )


def exposure(case: Case, number: int) -> Exposure:
    planned = _simulated(case, number).planned
    return Exposure(
        unit=Unit(planned.night, planned.expid),
        instrument="desi",
        flavor=planned.flavor,
        program=planned.program,
        exptime=planned.exptime,
        start=datetime(2022, 1, 2, 3, number, tzinfo=UTC),
        airmass=None if planned.flavor in ("zero", "dark") else planned.airmass,
        seeing=None,
    )


def arrival(case: Case, number: int) -> Arrival:
    science = case.flavor == "science"
    return Arrival(
        file=f"desi-{100 + number:08d}.fits.fz",
        size=123_456,
        hdus=("PRIMARY", "R0"),
        expected_hdus=("PRIMARY", "R0") if not science else ("PRIMARY", "R0", "B0"),
        missing_keywords=("EXPTIME",) if science else (),
        companions=(Companion(role="fibermap", name="fibermap-00000100.fits", present=False, required=science),),
        night_of_header=20220101,
        night_of_time=20220102 if science else 20220101,
        night_of_path=20220101 if not case.faults else None,
        problems={"headers": ("EXPTIME is missing",), "companions": ("there is no fibre map",)} if science else {},
    )


def fibermap(case: Case, number: int) -> FiberMap:
    n = INSTRUMENT.layout.nfibre
    types = tuple("SKY" if i % 5 == 0 else "TGT" for i in range(n))
    columns = {"FIBERASSIGN_X": np.linspace(-100.0, 100.0, n), "FIBERASSIGN_Y": np.zeros(n)}
    return FiberMap(fiber=np.arange(n, dtype=np.int32), objtype=types, columns=columns, source="simulated")


def calibrations_used(case: Case, number: int) -> CalibrationsUsed:
    """A fresh one, a stale one, one without a night; and one that is lacking."""
    made = (("bias", 2.5, 30.0), ("psf", 40.0, 7.0), ("fiberflat", None, None))
    used = tuple(CalibrationUsed(kind=k, source=f"/calib/{k}.fits", age_days=age, stale_days=stale) for k, age, stale in made)
    return CalibrationsUsed(used=used, absent={"dark": Absence(why="none holds on that night", what_next="make one", expected=True)})


def book(case: Case, number: int) -> Book:
    """A whole one; of a science exposure one with an absent file and a stray one."""
    files = dict.fromkeys(("M_index.yaml", "M_book.yaml", "D_ufm_mv9_000.g3", "A_ancil_000.g3", "D_ufm_mv9_001.g3", "A_ancil_001.g3"), 1000)
    if case.flavor == "science":
        files.pop("A_ancil_001.g3")
        files["notes.txt"] = 10
    index = {"type": "obs", "stream_ids": ["ufm_mv9"], "detsets": ["mv9"], "sample_ranges": [[0, 10], [10, 20]], "start_time": 2.0, "stop_time": 3.0}
    return Book(name="obs_1660900000_satp1_0000001", index=index, files=files)


FACTORIES: dict[type[Product], Callable[[Case, int], Product]] = {
    RawImage: raw_image,
    Image: image,
    Exposure: exposure,
    Arrival: arrival,
    FiberMap: fibermap,
    Bias: lambda case, n: Bias(pixels=INSTRUMENT.hardware.bias.copy()),
    Dark: lambda case, n: Dark(pixels=INSTRUMENT.hardware.dark.copy()),
    PixelFlat: lambda case, n: PixelFlat(pixels=INSTRUMENT.hardware.pixflat.copy()),
    BadPixelMask: lambda case, n: BadPixelMask(pixels=INSTRUMENT.hardware.mask.astype(np.uint16)),
    KnownFibers: lambda case, n: KnownFibers(broken=(3,), low=(5,)),
    CalibrationsUsed: calibrations_used,
    Book: book,
    **coadd_factories.FACTORIES,
    **lamp_factories.FACTORIES,
    **shift_factories.FACTORIES,
    **slit_factories.FACTORIES,
    **spectra_factories.FACTORIES,
    **trace_factories.FACTORIES,
    **unit_factories.FACTORIES,
}


def make(wanted: type[Product], case: Case = GOOD, number: int = 0) -> Product:
    """A product of a type. AssertionError where nobody has said how it is made."""
    factory = FACTORIES.get(wanted) or next((f for t, f in FACTORIES.items() if issubclass(t, wanted)), None)
    assert factory, f"no factory makes a {wanted.__name__}: add one to FACTORIES in tests/contract/product_factories.py"
    return factory(case, number)


def _input(need: Requirement, case: Case) -> Any:
    if not need.sequence:
        return make(need.type, case)
    group = [make(need.type, case, i) for i in range(GROUP_SIZE)]
    return Streamed([functools.partial(_given, product) for product in group])  # the same object each time, so that a change is seen


def _given(product: Product) -> Product:
    return product


def inputs_of(plugin: type[Plugin[Any]], case: Case = GOOD) -> dict[str, Any]:
    """All that a plugin asks for, by the names of its arguments."""
    return {need.name: _input(need, case) for need in contract_of(plugin).inputs}
