"""A small simulator of a CCD test bench (Euclid VIS blocks): a file per CCD and exposure, a log of exposures, logs of housekeeping.

Names and forms of the files are those of the bench: a folder per day, ``EUC_<obsid>_<ddmmyy>D_<hhmmss>T_ROE<n>_CCD<n>.fits`` of four quadrants that
are read out from the corners, ``EXP_LOG_<ddmmyy>.txt`` that grows while data are taken, ``HK_<obsid>_<date>D<time>T_ROE<n>.txt`` with a row a second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from quicklook.core.session import SessionFile
from quicklook.sim.benchplan import BenchExposure, Mishaps
from quicklook.sim.fitsfiles import image_hdu, publish, write_hdus
from quicklook.sim.headers import Card
from quicklook.sim.streams import Purpose, stream

Scale = Literal["small", "full"]
Array = npt.NDArray[Any]
PRESCAN, OVERSCAN = 51, 20
"""Columns of each half before and behind the image; rows of parallel overscan of each half."""
IMAGE = {"small": (512, 128), "full": (2066, 2048)}
"""Rows and columns of the image of a quadrant."""
QUADRANTS = ("E", "F", "G", "H")
"""Upper left, upper right, lower right, lower left."""
GAIN, READ_NOISE, OFFSET, TOP = 3.5, 4.5, 2300.0, 65535
"""electron/ADU, electron, ADU, ADU."""
BIAS_COLUMNS, BIAS_RAMP = 0.3, 2.0
"""Structure of the bias, ADU: scatter of its columns, and a ramp where the read-out of a row begins."""
DARK_RATE, FLAT_RATE = 2.0 / 3600.0, 2200.0
"""electron/s: dark current at -120 C, light of the lamp."""
TEMPERATURE_C = -120.0
RAYS_PER_CM2_S = 0.02
_HK_LEAST_S, _HK_MOST_S = 5, 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchCcd:
    """One CCD on the bench. Gains (electron/ADU), read noise (electron), offsets (ADU) by quadrant; of the whole image the
    structure of the bias (ADU), the response, and the dark current (electron/s)."""

    camera: str
    serial: str
    seed: int
    scale: Scale
    gain: Mapping[str, float]
    read_noise: Mapping[str, float]
    offset: Mapping[str, float]
    bias: npt.NDArray[np.float32]
    response: npt.NDArray[np.float32]
    dark: npt.NDArray[np.float32]

    @property
    def index(self) -> int:
        """Its number among those of the bench, for its random streams."""
        digits = "".join(c for c in self.camera if c.isdigit())
        return int(digits or 0)


def make_ccd(camera: str, serial: str, *, seed: int, scale: Scale) -> BenchCcd:
    """A CCD whose properties depend on seed and name alone: gains and pixels within 1 %, one pixel in 10,000 hot, a bias with columns and a ramp."""
    index = int("".join(c for c in camera if c.isdigit()) or 0)
    rng = stream(seed, Purpose.HARDWARE, index)
    ny, nx = (2 * n for n in IMAGE[scale])
    y, x = np.mgrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j].astype(np.float32)
    response = (1.0 - 0.02 * (x * x + y * y)) * rng.normal(1.0, 0.01, (ny, nx))
    dark = np.full((ny, nx), DARK_RATE, np.float32)
    hot = rng.integers(0, ny * nx, max(1, ny * nx // 10_000))
    dark.ravel()[hot] = rng.uniform(0.02, 0.2, hot.size)
    from_edge = np.minimum(np.arange(nx), nx - 1 - np.arange(nx))
    bias = rng.normal(0.0, BIAS_COLUMNS, nx) + BIAS_RAMP * np.exp(-from_edge / 20.0)
    return BenchCcd(
        camera=camera,
        serial=serial,
        seed=seed,
        scale=scale,
        gain={q: GAIN * float(rng.uniform(0.99, 1.01)) for q in QUADRANTS},
        read_noise={q: READ_NOISE * float(rng.uniform(0.97, 1.03)) for q in QUADRANTS},
        offset={q: OFFSET + float(rng.uniform(-200, 200)) for q in QUADRANTS},
        bias=np.broadcast_to(bias.astype(np.float32), (ny, nx)),
        response=response.astype(np.float32),
        dark=dark,
    )


def raw_image(ccd: BenchCcd, exposure: BenchExposure) -> npt.NDArray[np.uint16]:
    """The raw image [2 (rows + 20), 2 (51 + columns + 20)] of an exposure, ADU."""
    rng = stream(ccd.seed, Purpose.READOUT, ccd.index, exposure.obsid)
    electrons = _electrons(ccd, exposure)
    rows, columns = IMAGE[ccd.scale]
    out = np.zeros((2 * (rows + OVERSCAN), 2 * (PRESCAN + columns + OVERSCAN)), np.float32)
    for name in QUADRANTS:
        top, right = name in "EF", name in "FG"
        quadrant = np.zeros((rows + OVERSCAN, PRESCAN + columns + OVERSCAN), np.float32)
        # the overscan is read out last
        quadrant[:rows, PRESCAN : PRESCAN + columns] = _quadrant(electrons, rows, columns, top=top, right=right)
        quadrant += rng.normal(0.0, ccd.read_noise[name], quadrant.shape)
        adu = quadrant / ccd.gain[name] + ccd.offset[name]
        adu[:rows, PRESCAN : PRESCAN + columns] += _quadrant(ccd.bias, rows, columns, top=top, right=right)
        ys = slice(rows + OVERSCAN, None) if top else slice(0, rows + OVERSCAN)
        xs = slice(PRESCAN + columns + OVERSCAN, None) if right else slice(0, PRESCAN + columns + OVERSCAN)
        out[ys, xs] = adu[:: -1 if top else 1, :: -1 if right else 1]
    return np.clip(np.rint(out), 0, TOP).astype(np.uint16)


def _quadrant(image: Array, rows: int, columns: int, *, top: bool, right: bool) -> Array:
    """A quadrant of the image as it is read out: from its corner inwards."""
    part = image[rows:] if top else image[:rows]
    part = part[:, columns:] if right else part[:, :columns]
    return part[:: -1 if top else 1, :: -1 if right else 1]


def _electrons(ccd: BenchCcd, exposure: BenchExposure) -> Array:
    """What the pixels hold, electron, with the noise of photons."""
    rng = stream(ccd.seed, Purpose.PHOTONS, ccd.index, exposure.obsid)
    mean = ccd.dark * np.float32(exposure.exptime)
    if exposure.flavor == "flat":
        mean = mean + ccd.response * np.float32(FLAT_RATE * exposure.exptime)
    out = rng.poisson(mean).astype(np.float32) if exposure.exptime > 0 else np.zeros(mean.shape, np.float32)
    area_cm2 = out.size * (12e-4) ** 2
    rays = stream(ccd.seed, Purpose.COSMICS, ccd.index, exposure.obsid)
    for _ in range(rays.poisson(RAYS_PER_CM2_S * area_cm2 * exposure.exptime)):
        length, angle = int(rays.integers(1, 12)), rays.uniform(0, 2 * math.pi)
        y, x = rays.uniform(0, out.shape[0]), rays.uniform(0, out.shape[1])
        for step in range(length):
            iy, ix = int(y + step * math.sin(angle)), int(x + step * math.cos(angle))
            if 0 <= iy < out.shape[0] and 0 <= ix < out.shape[1]:
                out[iy, ix] += rays.uniform(500, 3000)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The bench: its CCDs, where it writes, and what goes wrong."""

    folder: Path
    ccds: Sequence[BenchCcd]
    mishaps: Mishaps

    def write(self, exposure: BenchExposure) -> list[Path]:
        """Write an exposure: a file per CCD (each whole at once), its rows in the log, the housekeeping. Returns the FITS files."""
        day = self.folder / exposure.start.strftime("%d%b%y")
        day.mkdir(parents=True, exist_ok=True)
        paths = []
        self._housekeeping(day, exposure)
        for ccd in self.ccds:
            path = day / f"EUC_{exposure.obsid}_{exposure.start:%d%m%y}D_{exposure.start:%H%M%S}T_{ccd.camera}.fits"
            hdus = [image_hdu("", raw_image(ccd, exposure), self._cards(ccd, exposure))]
            publish(path, lambda hidden, hdus=hdus: write_hdus(hidden, hdus))  # type: ignore[misc]
            self._log(day, ccd, exposure, path)
            paths.append(path)
        return paths

    def _serial(self, ccd: BenchCcd, exposure: BenchExposure) -> str:
        return self.mishaps.serials.get(exposure.test, {}).get(ccd.camera, ccd.serial)

    def _cards(self, ccd: BenchCcd, exposure: BenchExposure) -> list[Card]:
        cards = [
            Card("EXPTIME", exposure.exptime, "[s] exposure time"),
            Card("DATE-OBS", exposure.start.strftime("%Y-%m-%dT%H:%M:%S"), "start (UTC)"),
            Card("TEST", exposure.label or exposure.test, "test"),
            Card("SEQPOS", exposure.position, "position in the sequence of the test"),
            Card("CCD_SN", self._serial(ccd, exposure), "serial number of the CCD"),
            Card("ROE_SN", "SIM-01", "serial number of the ROE"),
            Card("CCDTEMP", TEMPERATURE_C, "[C] temperature of the CCD"),
            Card("SIMSEED", ccd.seed, "seed of the simulation"),
        ]
        return [*cards, *([Card("WAVELENG", exposure.wavelength, "[nm] wavelength of the source")] if exposure.wavelength else [])]

    def _log(self, day: Path, ccd: BenchCcd, exposure: BenchExposure, path: Path) -> None:
        row = {
            "ObsID": exposure.obsid, "File_name": path.stem, "CCD": ccd.camera.partition("_")[2], "ROE": ccd.camera.partition("_")[0],
            "DATE": exposure.start.strftime("%d%m%yD%H%M%ST"), "TEST": exposure.label or exposure.test, "CCD_SN": self._serial(ccd, exposure),
            "Exptime": exposure.exptime, "Wavelength": exposure.wavelength, "SeqPos": exposure.position, "CCD_TEMP": TEMPERATURE_C,
        }  # fmt: skip
        _append(day / f"EXP_LOG_{exposure.start:%d%m%y}.txt", row)

    def _housekeeping(self, day: Path, exposure: BenchExposure) -> None:
        """A row a second of temperatures (C) and voltages (V), for each ROE."""
        seconds = min(max(int(exposure.exptime), _HK_LEAST_S), _HK_MOST_S)
        for roe in dict.fromkeys(c.camera.partition("_")[0] for c in self.ccds):
            rng = stream(self.ccds[0].seed, Purpose.DRIFT, int(roe[3:] or 0), exposure.obsid)
            of_roe = [c.camera.partition("_")[2] for c in self.ccds if c.camera.startswith(f"{roe}_")]
            names = ["TimeStamp", *(f"{c}_TEMP_T" for c in of_roe), "VID_PCB_TEMP_T", *(f"{c}_OD_T" for c in of_roe), "ROE_STATUS"]
            lines = ["\t".join(names)]
            for k in range(seconds):
                at = (exposure.start + timedelta(seconds=k)).strftime("%H:%M:%S")
                temps = [f"{TEMPERATURE_C + rng.normal(0, 0.02):.3f}" for _ in of_roe]
                rest = [f"{12.0 + rng.normal(0, 0.1):.3f}", *(f"{26.0 + rng.normal(0, 0.005):.4f}" for _ in of_roe), "0x0000"]
                lines.append("\t".join([at, *temps, *rest]))
            path = day / f"HK_{exposure.obsid}_{exposure.start:%d%m%yD%H%M%S}T_{roe}.txt"
            path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _append(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a log; one that is there, since the same exposure is taken once more, is not added again."""
    line = "\t".join(str(v) for v in row.values()) + "\n"
    there = path.read_text(encoding="ascii").splitlines(keepends=True) if path.is_file() else []
    if line not in there:
        with path.open("a", encoding="ascii") as file:
            file.write(line if there else "\t".join(row) + "\n" + line)


def bench_of(session: SessionFile, folder: Path, cameras: Sequence[str], *, seed: int, scale: Scale, mishaps: Mishaps) -> Bench:
    """A bench with the CCDs that a session asks for (their serial numbers are those that it states), writing below `folder`.

    Raises BadConfig for mishaps that cannot be.
    """
    mishaps.check(session, cameras)
    wanted = {c: session.tests[0].wanted_of(c, session).get("serial") for c in cameras}
    serials = {c: w if isinstance(w, str) else f"SIM-{i:02d}" for i, (c, w) in enumerate(wanted.items(), start=1)}
    ccds = [make_ccd(c, serials[c], seed=seed, scale=scale) for c in cameras]
    return Bench(folder=folder, ccds=ccds, mishaps=mishaps)


def write_bench_truth(path: Path, bench: Bench, exposures: Sequence[BenchExposure]) -> None:
    """What is true of a simulation: gains, read noise and offsets of the quadrants, and the exposures of every test, as JSON."""
    of_ccd = ("serial", "gain", "read_noise", "offset")
    truth = {
        "ccds": {c.camera: {name: getattr(c, name) for name in of_ccd} for c in bench.ccds},
        "dark_electron_per_h": DARK_RATE * 3600,
        "flat_electron_per_s": FLAT_RATE,
        "exposures": [{"obsid": e.obsid, "test": e.test, "position": e.position, "flavor": e.flavor, "exptime": e.exptime} for e in exposures],
        "aborted": dict(bench.mishaps.aborted),
        "missing": {k: list(v) for k, v in bench.mishaps.missing.items()},
        "serials": {k: dict(v) for k, v in bench.mishaps.serials.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
