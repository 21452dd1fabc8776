"""One camera of one exposure: raw image, header, and everything that is true of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quicklook.core.errors import BadConfig
from quicklook.sim.detector import cosmic_rays, detect, read_noise, read_out
from quicklook.sim.faults import Fault, find_fault
from quicklook.sim.headers import Cards, camera_cards
from quicklook.sim.instrument import SimInstrument
from quicklook.sim.light import LightPath, image_of, light_path
from quicklook.sim.plan import LIT_FLAVORS, PlannedExposure
from quicklook.sim.spectra import Spectra, lost_sky_fibres, no_light, spectra_of
from quicklook.sim.streams import Purpose, stream
from quicklook.sim.swaps import SWAPPED, exchanged, swapped_pairs
from quicklook.sim.targets import Targets, fibre_throughput, targets_of
from quicklook.sim.traces import Flexure, Floats, Traces

FIBRE_FAULTS = ("dead_fibers", "low_fibers")
FAULTY_FIBRES = 6
"""How many fibres a fault of fibres hits at least, where it names none (one in forty of a full camera)."""
SATURATED_FIBRES = 3
"""How many fibres the fault `saturated` makes too bright (one in eighty of a full camera)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureTruth:
    """What is true of one camera of one exposure.

    `image_e`: expected electrons after pixel flat and dark, before noise and cosmic rays, float32 [ny, nx];
    `cosmic_e`: electrons of cosmic rays, int32 [ny, nx]; `spectra`: expected electrons per fibre and row and what they
    are made of; `wave` (vacuum Angstrom), `xcen`, `sigma_x`, `sigma_y` (pixel), `fiberflat`: [nfibre, ny];
    `traces`: as shifted by `flexure`; `rdnoise` (electron) by amplifier name; `faults`: names of those that hit this
    camera; `fault_info`: what each did, by fault name; `bad_fibres`: 1 for fibres that a fault changed [nfibre].
    """

    image_e: NDArray[np.float32]
    cosmic_e: NDArray[np.int32]
    n_cosmics: int
    spectra: Spectra
    wave: Floats
    xcen: Floats
    sigma_x: Floats
    sigma_y: Floats
    fiberflat: Floats
    traces: Traces
    flexure: Flexure
    targets: Targets
    rdnoise: dict[str, float]
    faults: tuple[str, ...]
    fault_info: dict[str, dict[str, float | str | list[int]]]
    bad_fibres: NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedCamera:
    """A raw camera: `raw` int32 ADU [raw shape], `cards` of its header in order, `truth`."""

    instrument: SimInstrument
    planned: PlannedExposure
    raw: NDArray[np.int32]
    cards: Cards
    truth: ExposureTruth

    @property
    def header(self) -> dict[str, str | int | float | bool]:
        """Header values by keyword."""
        return {card.name: card.value for card in self.cards}


def simulate_exposure(instrument: SimInstrument, planned: PlannedExposure) -> SimulatedCamera:
    """Simulate one camera of an exposure in memory.

    Depends on the instrument's seed, the camera and the exposure alone, not on what else was simulated. Faults of files
    (missing_camera, truncated_file, ...) have no effect here: see `write_exposure`.
    """
    flexure = flexure_of(instrument, planned)
    traces = instrument.hardware.traces.shifted(flexure)
    path = light_path(instrument.layout, traces)
    targets = targets_of(instrument, planned.tileid)
    pairs = swapped_pairs(instrument, planned, targets)
    seen = exchanged(targets, pairs)
    spectra = spectra_of(instrument, planned, path, seen) if planned.flavor in LIT_FLAVORS else no_light(instrument)
    spectra, bad_fibres = _saturate(instrument, planned, spectra)
    too_bright = bad_fibres.copy()
    spectra = _dim(instrument, planned, spectra, bad_fibres)
    bad_fibres[lost_sky_fibres(instrument, planned, seen)] = 1
    bad_fibres[pairs] = 1
    expected = expected_image(instrument, planned, path, spectra.counts)
    cosmics, n_cosmics = cosmic_rays(instrument, planned.expid, planned.exptime, planned.faults)
    electrons = detect(instrument, planned.expid, expected, cosmics)
    raw = read_out(instrument, planned, electrons)
    noise = dict(zip(instrument.amp_names, read_noise(instrument, planned), strict=True))
    hit = tuple(fault.name for fault in planned.faults if fault.hits(instrument.camera))
    truth = ExposureTruth(
        image_e=expected, cosmic_e=cosmics, n_cosmics=n_cosmics, spectra=spectra,
        wave=path.on_image(path.wave), xcen=path.on_image(path.x),
        sigma_x=path.on_image(path.sigma_x), sigma_y=path.on_image(path.sigma_y),
        fiberflat=fibre_throughput(instrument, path.on_image(path.wave)), traces=traces, flexure=flexure, targets=targets,
        rdnoise=noise, faults=hit, fault_info=_fault_info(instrument, planned, raw, noise, too_bright, targets), bad_fibres=bad_fibres,
    )  # fmt: skip
    return SimulatedCamera(instrument=instrument, planned=planned, raw=raw, cards=camera_cards(instrument, planned), truth=truth)


def flexure_of(instrument: SimInstrument, planned: PlannedExposure) -> Flexure:
    """Shift of the traces in this exposure: some tenths of a pixel for science, hundredths for calibrations, and what a fault adds."""
    rng = stream(instrument.seed, Purpose.FLEXURE, instrument.code, planned.expid)
    size = {"science": 0.15, "arc": 0.05, "flat": 0.08}.get(planned.flavor, 0.0)
    dx, dy = (tuple(round(float(v), 4) for v in rng.uniform(-1, 1, 3) * size * np.array([1.0, 0.17, 0.15])) for _ in "xy")
    if planned.flexure is not None:
        dx, dy = (planned.flexure[0], *dx[1:]), (planned.flexure[1], *dy[1:])
    more_x, more_y = (find_fault(planned.faults, name, instrument.camera) for name in ("trace_shift", "wavelength_shift"))
    x, y = (fault.value if fault else 0.0 for fault in (more_x, more_y))
    return Flexure(dx=(dx[0] + x, dx[1], dx[2]), dy=(dy[0] + y, dy[1], dy[2]))


def expected_image(instrument: SimInstrument, planned: PlannedExposure, path: LightPath, counts: Floats) -> NDArray[np.float32]:
    """Expected electrons of every pixel [ny, nx]: light, stray light, pixel flat, dark current; no noise, no cosmic rays."""
    layout, hardware = instrument.layout, instrument.hardware
    lit = counts.any()
    image = image_of(path, counts, layout, instrument.wings) if lit else np.zeros((layout.ny, layout.nx), np.float32)
    leak = find_fault(planned.faults, "light_leak", instrument.camera)
    if leak is not None:
        y, x = np.arange(layout.ny)[:, np.newaxis] / layout.ny, np.arange(layout.nx) / layout.nx
        image += (leak.value * np.exp(-0.5 * ((x - 1.0) ** 2 + y**2) / 0.5**2)).astype(np.float32)
    image *= hardware.pixflat
    image += hardware.dark * np.float32(planned.exptime)
    return image


def _saturate(instrument: SimInstrument, planned: PlannedExposure, spectra: Spectra) -> tuple[Spectra, NDArray[np.int16]]:
    bad = np.zeros(instrument.layout.nfibre, np.int16)
    fault = find_fault(planned.faults, "saturated", instrument.camera)
    if fault is None:
        return spectra, bad
    factor = np.ones(len(bad))
    mean = spectra.counts.mean(axis=1)
    brightest = np.argsort(mean)[::-1][: max(SATURATED_FIBRES, len(bad) // 80)]
    factor[brightest] = fault.value / mean[brightest]
    bad[brightest] = 1
    return spectra.scaled(factor[:, np.newaxis]), bad


def faulty_fibres(instrument: SimInstrument, fault: Fault) -> NDArray[np.int64]:
    """Rows of the fibres that have a fault of fibres: those that it names, else some of the sound ones, the same in all arms and exposures.

    None for one that chooses by the targets (`swapped_pairs`). Raises BadConfig where it names one that there is not.
    """
    layout = instrument.layout
    if strange := [i for i in fault.fibers if not 0 <= i < layout.nfibre]:
        raise BadConfig(f"fault {fault.name}: {instrument.camera} has no fibre {strange[0]}; its rows are 0 to {layout.nfibre - 1}")
    if fault.fibers or fault.name not in FIBRE_FAULTS:
        return np.array(fault.fibers, np.int64)
    sound = np.setdiff1d(np.arange(layout.nfibre), [layout.dead_fibre, *instrument.low_fibres])
    rng = stream(instrument.seed, Purpose.FIBRES, instrument.spectrograph, 1 + FIBRE_FAULTS.index(fault.name))
    return np.sort(rng.permutation(sound)[: max(FAULTY_FIBRES, layout.nfibre // 40)])


def _dim(instrument: SimInstrument, planned: PlannedExposure, spectra: Spectra, bad: NDArray[np.int16]) -> Spectra:
    """With less light in the fibres that a fault has hit, or none; the true flux of their targets stays."""
    for name in FIBRE_FAULTS:
        fault = find_fault(planned.faults, name, instrument.camera)
        if fault is None:
            continue
        factor = np.ones((len(bad), 1))
        factor[rows := faulty_fibres(instrument, fault)] = fault.value
        bad[rows] = 1
        spectra = replace(spectra.scaled(factor), flux=spectra.flux)
    return spectra


def _fault_info(
    instrument: SimInstrument,
    planned: PlannedExposure,
    raw: NDArray[np.int32],
    noise: dict[str, float],
    too_bright: NDArray[np.int16],
    targets: Targets,
) -> dict[str, dict[str, float | str | list[int]]]:
    """What the faults of this camera did, for the truth file."""
    info: dict[str, dict[str, float | str | list[int]]] = {}
    for fault in planned.faults:
        if not fault.hits(instrument.camera):
            continue
        entry: dict[str, float | str | list[int]] = {}
        if fault.kind.amp is not None:
            entry["amp"] = instrument.amp_names[fault.amp_index]
        if fault.kind.strength is not None:
            entry["strength"] = fault.value
        if fault.name == "hot_noise_amp":
            entry["rdnoise"] = noise[instrument.amp_names[fault.amp_index]]
        if fault.name == "saturated":
            entry["fibres"] = np.flatnonzero(too_bright).tolist()
            entry["n_saturated_pixels"] = int((raw == 65535).sum())
        if fault.name == "lost_sky":
            entry["fibres"] = lost_sky_fibres(instrument, planned, targets).tolist()
        if fault.name == SWAPPED:
            entry["fibres"] = swapped_pairs(instrument, planned, targets).ravel().tolist()
        elif fault.kind.of_fibers:
            entry["fibres"] = faulty_fibres(instrument, fault).tolist()
        info[fault.name] = entry
    return info
