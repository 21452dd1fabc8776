"""The simulated instrument: what is true of a camera in all its exposures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import BadConfig
from quicklook.sim.atlas import is_fits, lamp_file, sky_spectrum
from quicklook.sim.geometry import Layout, Scale, camera_code, layout_of, parse_camera
from quicklook.sim.realtraces import read_traces_of
from quicklook.sim.streams import Purpose, stream
from quicklook.sim.traces import Traces, nominal_traces

Floats = NDArray[np.float64]
DEFAULT_SEED = 20220101
LOW_FACTOR = 0.3
"""Light of a low fibre, of that of a sound one."""
SATURATION_ADU = 65535
FULL_WELL_E = 2.0e5
"""Electrons that a pixel holds; above it the charge is lost (it does not bleed into its neighbours)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimInstrument:
    """One camera at a scale with a seed. Two of the same value have the same hardware to the last bit.

    `wings`: fraction of the light in a Gaussian of 3 pixel across the trace; `bias_drift`: how far (ADU, peak to peak)
    the bias of each amplifier drifts along the rows of an exposure; `amp_names`: letters in the header cards, for
    amplifiers lower left, lower right, upper left, upper right ('1234' in old files); `sky_gradient`: relative difference of
    the sky between the centre of the focal plane and its edge at +x; `trace_file`: a PSF file of a full camera, from which the
    traces are taken, or a window of them at smaller scales; `sky_file`, `arc_file`: the emission of the sky and the lines of the lamp, in place
    of the simulator's own (see `quicklook.sim.atlas`); `nsky`, `nstd`: number of sky fibres and of standard stars, where it is not that of the
    scale; `nlow`: number of fibres that the calibrations know to be low. Raises BadConfig.
    """

    camera: str
    scale: Scale = "small"
    seed: int = DEFAULT_SEED
    wings: float = 0.0
    bias_drift: float = 0.0
    amp_names: str = "ABCD"
    sky_gradient: float = 0.0
    trace_file: str = ""
    sky_file: str = ""
    arc_file: str = ""
    nsky: int | None = None
    nstd: int | None = None
    nlow: int = 0

    def __post_init__(self) -> None:
        parse_camera(self.camera)
        layout_of(self.camera[0], self.scale)
        if self.seed < 0:
            raise BadConfig(f"seed {self.seed} is negative: give a number from 0")
        if not 0.0 <= self.wings < 1.0:
            raise BadConfig(f"wings {self.wings} is not a fraction from 0 to 1")
        if self.bias_drift < 0.0:
            raise BadConfig(f"bias_drift {self.bias_drift} ADU is negative")
        if not -1.0 < self.sky_gradient < 1.0:
            raise BadConfig(f"sky_gradient {self.sky_gradient} is not between -1 and 1")
        self._check_counts()
        if self.sky_file:
            sky_spectrum(self.sky_file, is_fits(self.sky_file))
        if self.arc_file:
            lamp_file(self.arc_file, self.seed)
        if len(set(self.amp_names)) != 4:
            raise BadConfig(f"amp_names {self.amp_names!r} are not four different letters, such as ABCD or 1234")

    def _check_counts(self) -> None:
        counts = {"sky fibres": self.nsky, "standard stars": self.nstd, "low fibres": self.nlow}
        if wrong := [f"{count} {what}" for what, count in counts.items() if count is not None and count < 0]:
            raise BadConfig(f"{self.camera}: {', '.join(wrong)}: give a number from 0")
        live, kinds = self.layout.nfibre - 1, dict(self.layout.kinds)
        if (total := sum(kinds.values())) > live or self.nlow > live // 2:
            most = live - total + kinds["SKY"] + kinds["STD"]
            raise BadConfig(
                f"{self.camera}: {kinds['SKY']} sky fibres, {kinds['STD']} standard stars and {self.nlow} low fibres are too many: "
                f"of {live} live fibres {most} at most can be sky or standard stars, and {live // 2} low"
            )

    @property
    def arm(self) -> str:
        """b, r or z."""
        return self.camera[0]

    @property
    def spectrograph(self) -> int:
        """Place of the spectrograph (petal), 0..9; its fibres are numbered from 500 times this."""
        return int(self.camera[1])

    @property
    def specid(self) -> int:
        """Serial number of the spectrograph that stands at this place."""
        return self.spectrograph + 4

    @property
    def code(self) -> int:
        """Number of the camera in the random streams."""
        return camera_code(self.camera)

    @property
    def detector(self) -> str:
        """Serial name of the CCD."""
        return f"SIM-{self.camera.upper()}"

    @property
    def layout(self) -> Layout:
        """Pixels, sections, fibres."""
        layout = layout_of(self.arm, self.scale)
        own = {kind: n for kind, n in (("SKY", self.nsky), ("STD", self.nstd)) if n is not None}
        return replace(layout, kinds=tuple((kind, own.get(kind, n)) for kind, n in layout.kinds)) if own else layout

    @property
    def low_fibres(self) -> tuple[int, ...]:
        """Rows of the fibres that the calibrations know to be low: the same in the three arms of a spectrograph."""
        live = np.delete(np.arange(self.layout.nfibre), self.layout.dead_fibre)
        rows = stream(self.seed, Purpose.FIBRES, self.spectrograph).permutation(live)[: self.nlow]
        return tuple(sorted(int(i) for i in rows))

    @property
    def hardware(self) -> Hardware:
        """Truth of the detector and fibres (kept in memory for the few cameras used last)."""
        return _hardware(self.camera, self.scale, self.seed, self.trace_file, self.low_fibres)


def sim_instruments(
    cameras: Sequence[str],
    *,
    scale: Scale = "small",
    seed: int = DEFAULT_SEED,
    wings: float = 0.0,
    bias_drift: float = 0.0,
    amp_names: str = "ABCD",
    sky_gradient: float = 0.0,
    trace_files: Mapping[str, str] | None = None,
    sky_file: str = "",
    arc_file: str = "",
    nsky: int | None = None,
    nstd: int | None = None,
    nlow: int = 0,
) -> tuple[SimInstrument, ...]:
    """One SimInstrument for each camera name; `trace_files` by camera. Raises BadConfig for names that are unknown, given twice, or none."""
    if not cameras or len(set(cameras)) != len(cameras):
        raise BadConfig(f"cameras {list(cameras)} must be different names, at least one")
    files = trace_files or {}
    if stray := [c for c in files if c not in cameras]:
        raise BadConfig(f"traces are given for {', '.join(stray)}, which are not simulated; the cameras are {', '.join(cameras)}")
    return tuple(
        SimInstrument(
            camera=camera, scale=scale, seed=seed, wings=wings, bias_drift=bias_drift, amp_names=amp_names,
            sky_gradient=sky_gradient, trace_file=files.get(camera, ""), sky_file=sky_file, arc_file=arc_file, nsky=nsky, nstd=nstd, nlow=nlow,
        )
        for camera in cameras
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Truth of one camera.

    Per amplifier (4,): `gain` electron/ADU, `rdnoise` electron, `pedestal` ADU. Images: `bias` ADU [raw shape], float32,
    without the pedestal; `dark` electron/s, `pixflat` (dimensionless), `mask` (PixelMask bits, int32) [ny, nx].
    `throughput` [nfibre, 3]: each fibre relative to the mean of the live ones, as 1, t, t^2 with t = -1..1 along the
    arm's wavelengths; zero for the dead fibre; low fibres have LOW_FACTOR of what they would have.
    """

    gain: tuple[float, ...]
    rdnoise: tuple[float, ...]
    pedestal: tuple[float, ...]
    bias: NDArray[np.float32]
    dark: NDArray[np.float32]
    pixflat: NDArray[np.float32]
    mask: NDArray[np.int32]
    bad_columns: tuple[int, ...]
    throughput: Floats
    traces: Traces


@lru_cache(maxsize=3)  # about 230 MB each at full scale
def _hardware(camera: str, scale: Scale, seed: int, trace_file: str, low: tuple[int, ...]) -> Hardware:
    layout = layout_of(camera[0], scale)
    rng = stream(seed, Purpose.HARDWARE, camera_code(camera))
    gain = tuple(round(float(v), 3) for v in rng.uniform(1.20, 1.36, 4))
    rdnoise = tuple(round(float(v), 3) for v in rng.uniform(2.3, 3.2, 4))
    pedestal = tuple(round(float(v), 1) for v in rng.uniform(985.0, 1035.0, 4))
    throughput = _fibre_throughput(layout, rng)
    throughput[list(low)] *= LOW_FACTOR
    dark, pixflat, mask, columns = _pixels(layout, rng)
    bias = _bias(layout, rng)
    for array in (bias, dark, pixflat, mask, throughput):
        array.flags.writeable = False
    return Hardware(
        gain=gain, rdnoise=rdnoise, pedestal=pedestal, bias=bias, dark=dark, pixflat=pixflat, mask=mask,
        bad_columns=columns, throughput=throughput, traces=read_traces_of(trace_file, layout) if trace_file else nominal_traces(layout),
    )  # fmt: skip


def _fibre_throughput(layout: Layout, rng: np.random.Generator) -> Floats:
    """Five per cent of scatter between fibres, two with wavelength; the mean over the live fibres is 1 at every t."""
    values = rng.normal(size=(layout.nfibre, 3)) * (0.05, 0.02, 0.01) + (1.0, 0.0, 0.0)
    live = np.arange(layout.nfibre) != layout.dead_fibre
    values -= values[live].mean(axis=0) - (1.0, 0.0, 0.0)
    values[~live] = 0.0
    return values


def _bias(layout: Layout, rng: np.random.Generator) -> NDArray[np.float32]:
    """Columns settle after the first read-out pixels, rows wave slowly, every pixel has its own small offset; ADU."""
    nrow, ncol = layout.raw_shape
    from_edge = np.minimum(np.arange(ncol), np.arange(ncol)[::-1])
    columns = 0.8 * np.exp(-from_edge / 40.0) + 0.4 * np.sin(np.arange(ncol) / 19.0)
    rows = 0.4 * np.cos(np.arange(nrow) / 700.0)
    bias = rng.standard_normal((nrow, ncol), dtype=np.float32)
    bias *= np.float32(0.15)
    bias += (rows[:, np.newaxis]).astype(np.float32)
    bias += columns.astype(np.float32)
    return bias


def _pixels(layout: Layout, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32], tuple[int, ...]]:
    """Dark current, pixel flat, mask, bad columns. The mask knows every hot and dead pixel and bad column."""
    shape = ny, nx = layout.ny, layout.nx
    dark = np.clip(rng.standard_normal(shape, dtype=np.float32), -1.9, 4.0) * np.float32(0.0004) + np.float32(0.0008)
    pixflat = np.float32(1.0) + np.float32(0.006) * rng.standard_normal(shape, dtype=np.float32)
    mask = np.zeros(shape, np.int32)
    for _ in range(max(2, ny * nx // 280_000)):
        _dust(pixflat, rng)
    columns = tuple(int(c) for c in rng.choice(np.arange(nx // 40 + 1, nx - nx // 40 - 1), max(1, nx // 1000), replace=False))
    for column in columns:
        rows = slice(int(rng.integers(0, ny // 2)), None)
        dark[rows, column] += np.float32(rng.uniform(0.2, 1.0))
        mask[rows, column] |= PixelMask.BAD
    count = max(3, ny * nx // 42_000)
    hot = rng.integers(0, ny, count), rng.integers(0, nx, count)
    dark[hot] += rng.uniform(0.5, 5.0, count).astype(np.float32)
    mask[hot] |= PixelMask.HOT
    dead = rng.integers(0, ny, count), rng.integers(0, nx, count)
    pixflat[dead] = rng.uniform(0.01, 0.05, count).astype(np.float32)
    mask[dead] |= PixelMask.DEAD
    return dark, pixflat, mask, columns


def _dust(pixflat: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Put the shadow of a grain, up to 25 per cent deep and a few pixels wide, on the pixel flat."""
    ny, nx = pixflat.shape
    y, x, width = int(rng.integers(0, ny)), int(rng.integers(0, nx)), rng.uniform(1.0, 4.0)
    box = slice(max(0, y - 15), y + 16), slice(max(0, x - 15), x + 16)
    yy, xx = np.mgrid[box[0].start : min(ny, y + 16), box[1].start : min(nx, x + 16)]
    shadow = 1.0 - rng.uniform(0.05, 0.25) * np.exp(-0.5 * ((yy - y) ** 2 + (xx - x) ** 2) / width**2)
    pixflat[box] *= shadow.astype(np.float32)
