"""The truth of simulated exposures on disk, in the form of the validation kit, and trace sets in DESI's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from quicklook.core.errors import BadConfig
from quicklook.sim.exposure import SimulatedCamera
from quicklook.sim.fitsfiles import compressed_hdu, empty_hdu, image_hdu, publish, table_hdu, write_hdus
from quicklook.sim.headers import Card
from quicklook.sim.instrument import SimInstrument
from quicklook.sim.spectra import AIRMASS_TERM, SEEING_TERM
from quicklook.sim.traces import Traces

_SAME = ("seed", "scale", "wings", "sky_gradient", "traces", "rdnoise", "sky_lines", "arc_lines", "nsky", "nstd", "low_fibres")
"""What the exposures of one simulation have in common."""
EDGE_ANGSTROM = 40.0
"""Wavelengths this near to the ends of an image are left out of scores."""


def write_truth(folder: Path, camera: SimulatedCamera) -> Path:
    """Write truth-<cam>-<expid>.fits and psf-true-<cam>-<expid>.fits, and add the exposure to truth-<cam>.json.

    Raises BadConfig where the folder holds the truth of another simulation of the camera (seed or scale).
    """
    name, expid = camera.instrument.camera, camera.planned.expid
    _add_to_json(folder / f"truth-{name}.json", camera)
    write_traces(folder / f"psf-true-{name}-{expid:08d}.fits", camera.instrument, camera.truth.traces)
    path = folder / f"truth-{name}-{expid:08d}.fits"
    hdus = _truth_hdus(camera)
    publish(path, lambda hidden: write_hdus(hidden, hdus))
    return path


def _truth_hdus(camera: SimulatedCamera) -> list[Any]:
    truth, spectra = camera.truth, camera.truth.spectra
    single = {"COUNTS": spectra.counts, "SIGX": truth.sigma_x, "SIGY": truth.sigma_y, "FIBERFLAT": truth.fiberflat}
    if spectra.sky is not None and spectra.target is not None and spectra.flux is not None:
        single |= {"SKYCOUNTS": spectra.sky, "TGTCOUNTS": spectra.target, "FLUX": spectra.flux}
    hdus = [
        empty_hdu(_truth_cards(camera)),
        *(image_hdu(name, values.astype(np.float32)) for name, values in single.items()),
        image_hdu("WAVE", np.ascontiguousarray(truth.wave)),
        image_hdu("XCEN", np.ascontiguousarray(truth.xcen)),
        compressed_hdu("COSMIC_E", truth.cosmic_e),
        image_hdu("IMAGE_E", truth.image_e),
        table_hdu("TARGETS", _target_rows(camera)),
    ]
    if spectra.line_wave is not None and spectra.line_electrons is not None:
        lines = np.zeros(len(spectra.line_wave), dtype=[("WAVE", "f8"), ("ELECTRONS", "f8")])
        lines["WAVE"], lines["ELECTRONS"] = spectra.line_wave, spectra.line_electrons
        hdus.append(table_hdu("LINES", lines))
    return hdus


def _truth_cards(camera: SimulatedCamera) -> tuple[Card, ...]:
    truth, planned, instrument = camera.truth, camera.planned, camera.instrument
    shifts = zip(("DX0", "DXU", "DXT", "DY0", "DYU", "DYT"), (*truth.flexure.dx, *truth.flexure.dy), strict=True)
    return (
        Card("CAMERA", instrument.camera),
        Card("EXPID", planned.expid),
        Card("FLAVOR", planned.flavor),
        Card("NCOSMIC", truth.n_cosmics, "tracks of cosmic rays"),
        Card("EXPTIME", planned.exptime, "[s]"),
        Card("DEADFIB", instrument.layout.dead_fibre, "row of the dead fibre"),
        Card("SEED", instrument.seed),
        Card("WINGS", instrument.wings, "fraction of light in the wings"),
        *(Card(name, value, "[pixel] flexure") for name, value in shifts),
        Card("FAULT", ",".join(truth.faults), "faults of this camera"),
    )


def _target_rows(camera: SimulatedCamera) -> np.ndarray[Any, Any]:
    targets = camera.truth.targets
    rows = np.zeros(len(targets.fiber), dtype=[("FIBER", "i4"), ("KIND", "S3"), ("MAG", "f8"), ("Z", "f8"), ("FAULT", "i2")])
    rows["FIBER"], rows["KIND"], rows["MAG"], rows["Z"] = targets.fiber, targets.kind, targets.mag, targets.z
    rows["FAULT"] = camera.truth.bad_fibres
    return rows


def _add_to_json(path: Path, camera: SimulatedCamera) -> None:
    content = _camera_summary(camera.instrument)
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key in _SAME if key in old and old[key] != content[key]]
        if other:
            what = ", ".join(other)
            raise BadConfig(f"{path} is of another simulation (its {what} differ): write to another folder or remove it")
        content["shifts"], content["exposures"] = old["shifts"], old["exposures"]
    truth, planned, expid = camera.truth, camera.planned, str(camera.planned.expid)
    content["shifts"][expid] = {"dx": list(truth.flexure.dx), "dy": list(truth.flexure.dy)}
    content["exposures"][expid] = {
        "flavor": planned.flavor,
        "exptime": planned.exptime,
        "airmass": planned.airmass,
        "seeing": planned.seeing,
        "sky_factor": planned.sky_factor,
        "transparency": planned.transparency,
        "faults": sorted(truth.faults),
        "fault_info": truth.fault_info,
        "rdnoise": truth.rdnoise,
    }
    publish(path, lambda hidden: _write_json(hidden, content))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


def _camera_summary(instrument: SimInstrument) -> dict[str, Any]:
    layout, hardware = instrument.layout, instrument.hardware

    def by_amp(values: tuple[float, ...]) -> dict[str, float]:
        return dict(zip(instrument.amp_names, values, strict=True))

    return {
        "camera": instrument.camera,
        "seed": instrument.seed,
        "scale": instrument.scale,
        "nfib": layout.nfibre,
        "nx": layout.nx,
        "ny": layout.ny,
        "wout": list(scored_range(instrument)),
        "gain": by_amp(hardware.gain),
        "rdnoise": by_amp(hardware.rdnoise),
        "pedestal": by_amp(hardware.pedestal),
        "dead_fibre": layout.dead_fibre,
        "aterm": AIRMASS_TERM,
        "sterm": SEEING_TERM,
        "wings": instrument.wings,
        "sky_gradient": instrument.sky_gradient,
        "traces": Path(instrument.trace_file).name,
        "sky_lines": Path(instrument.sky_file).name or "own",
        "arc_lines": Path(instrument.arc_file).name or "own",
        "nsky": dict(layout.kinds)["SKY"],
        "nstd": dict(layout.kinds)["STD"],
        "low_fibres": list(instrument.low_fibres),
        "badcols": list(hardware.bad_columns),
        "shifts": {},
        "exposures": {},
    }


def scored_range(instrument: SimInstrument) -> tuple[float, float]:
    """Wavelengths (Angstrom) that every fibre has, away from the ends of the image and of the arm."""
    ends = instrument.hardware.traces.wave_of_rows(np.array([0.0, instrument.layout.ny - 1.0]))
    first, last = float(ends[:, 0].max()), float(ends[:, 1].min())
    edge = min(EDGE_ANGSTROM, 0.1 * (last - first))
    return first + edge, last - edge


def write_traces(path: Path, instrument: SimInstrument, traces: Traces) -> None:
    """Write a trace set as a DESI PSF file: XTRACE, YTRACE and the table PSF with Gaussian widths GHSIGX, GHSIGY."""
    nfibre = len(traces.x)
    domain = (Card("WAVEMIN", traces.wave_min, "[Angstrom]"), Card("WAVEMAX", traces.wave_max, "[Angstrom]"))
    common = (
        Card("PSFTYPE", "GAUSS-HERMITE"),
        Card("PSFVER", "3"),
        Card("CAMERA", instrument.camera),
        Card("FIBERMIN", 0),
        Card("FIBERMAX", nfibre - 1),
        Card("NPIX_X", instrument.layout.nx),
        Card("NPIX_Y", instrument.layout.ny),
        *domain,
    )
    table = _psf_table(traces)
    sizes = (Card("HSIZEX", 5), Card("HSIZEY", 5), Card("GHDEGX", 2), Card("GHDEGY", 2), Card("LEGDEG", traces.x.shape[1] - 1))
    hdus = [
        image_hdu("XTRACE", np.ascontiguousarray(traces.x), common),
        image_hdu("YTRACE", np.ascontiguousarray(traces.y), domain),
        table_hdu("PSF", table, (*common, *sizes)),
    ]
    publish(path, lambda hidden: write_hdus(hidden, hdus, sums=True))


def _psf_table(traces: Traces) -> np.ndarray[Any, Any]:
    zero = np.zeros_like(traces.x)
    one = zero.copy()
    one[:, 0] = 1.0
    terms = {"GHSIGX": traces.sigma_x, "GHSIGY": traces.sigma_y}
    terms |= {f"GH-{i}-{j}": one if i == j == 0 else zero for i in range(3) for j in range(3)}
    terms |= {"TAILAMP": zero, "TAILCORE": one, "TAILXSCA": one, "TAILYSCA": one, "TAILINDE": 2.0 * one, "CONT": zero}
    columns = [("PARAM", "S8"), ("WAVEMIN", "f8"), ("WAVEMAX", "f8"), ("COEFF", "f8", traces.x.shape), ("LEGDEGX", "i8")]
    table = np.zeros(len(terms), dtype=[*columns, ("LEGDEGW", "i8")])
    table["PARAM"], table["COEFF"] = list(terms), np.array(list(terms.values()))
    table["WAVEMIN"], table["WAVEMAX"], table["LEGDEGW"] = traces.wave_min, traces.wave_max, traces.x.shape[1] - 1
    return table
