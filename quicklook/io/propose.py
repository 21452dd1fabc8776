"""The description of an instrument proposed from example frames: what `quicklook instrument new` writes.

It looks at zeros, flats, arcs and science frames together: sections of the amplifiers from the header or from statistics, orientation from arc
and flat, keywords by their values, gain and read noise from pairs. What is not certain is said, in the file and in `Proposal.unsure`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from quicklook.ccd.arrays import Float32, Raw
from quicklook.ccd.image import RawImage
from quicklook.core.errors import BadConfig, QuicklookError, describe
from quicklook.io.bringup.examples import Example, Unsure, load_examples
from quicklook.io.bringup.keywords import HeaderProposal, propose_header
from quicklook.io.bringup.names import NameProposal, propose_names
from quicklook.io.bringup.noise import gain_of, mad_noise_of, read_noise_of
from quicklook.io.bringup.optics import Optics, find_optics
from quicklook.io.bringup.readout import Readout, propose_readout
from quicklook.io.bringup.text import block, flow, layout_lines, unsure_lines
from quicklook.io.instrument import Instrument, make_instrument
from quicklook.io.reader import FitsReader

_GAINS = (0.05, 60.0)
_AGREE = 0.2
_PAIRS = 6
_ALIKE = 0.8
_SLIT_CHAINS = {"zero": "zero", "dark": "dark", "arc": "slit-arc", "flat": "slit-flat", "science": "slit-science"}
_SLIT_BUILDERS = {"fiberflat": "slit-fiberflat", "fluxcal": "slit-fluxcal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What the user knows and frames do not tell: longitude (degree east), camera, dispersion (Angstrom per pixel), central vacuum wavelength
    (Angstrom), elements of the lamps, apertures of a slit, whether wavelength falls along the dispersion. None and empty: not given."""

    longitude: float | None = None
    camera: str = ""
    dispersion: float | None = None
    centre: float | None = None
    lamps: tuple[str, ...] = ()
    apertures: int | None = None
    flip: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One example as the proposed description reads it; `problem` is empty where all is well."""

    file: str
    night: str
    expid: str
    camera: str
    flavor: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The file (`text`, YAML), the examples as it reads them, what is not certain, and files that could not be used."""

    text: str
    rows: tuple[Row, ...]
    unsure: tuple[str, ...]
    left_out: tuple[str, ...]
    findings: tuple[str, ...]


def propose(name: str, files: Iterable[str | Path], hints: Hints | None = None) -> Proposal:
    """A description for the instrument of these raw frames. Raises BadConfig (name), BadData (no file can be used)."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise BadConfig(f"{name!r} is no name of an instrument; use letters, digits, _ . and -")
    hints, unsure = hints or Hints(), Unsure()
    examples = load_examples(files, unsure)
    names = propose_names([e.path.name for e in examples], unsure)
    head = propose_header(examples, unsure, names.numbered, placed=hints.longitude is not None)
    readout = propose_readout(examples, unsure)
    draft = _Draft(name, examples, names, head, readout, hints, unsure)
    return draft.finish()


class _Draft:
    """A description that is being made."""

    def __init__(
        self, name: str, examples: Sequence[Example], names: NameProposal, head: HeaderProposal, readout: Readout, hints: Hints, unsure: Unsure
    ) -> None:
        self.name, self.examples, self.names, self.head, self.readout = name, examples, names, head, readout
        self.hints, self.unsure, self.findings = hints, unsure, list[str]()
        self.layout = readout.layout

    def finish(self) -> Proposal:
        trimmed = {e.path: self._trimmed(e) for e in self._of("arc")[:1] + self._of("flat")[:1]}
        arc, flat = (next((trimmed[e.path] for e in self._of(f) if e.path in trimmed), None) for f in ("arc", "flat"))
        optics = find_optics(arc, flat)
        for sentence in optics.unsure:
            self.unsure.add(sentence)
        if self.hints.flip is not None:
            optics = replace(optics, flip=self.hints.flip)
        self._measure_gains()
        text = self._text(optics)
        instrument = make_instrument(_loaded(text), f"proposal for {self.name}")
        rows = tuple(self._row(instrument, e) for e in self.examples)
        for row in rows:
            if row.problem:
                self.unsure.add(f"{row.file}: {row.problem}")
        text = self._text(optics)  # again, with all that is not certain
        return Proposal(
            text=text, rows=rows, unsure=tuple(self.unsure.sentences), left_out=tuple(self.unsure.left_out), findings=tuple(self.findings)
        )

    def _of(self, flavor: str) -> list[Example]:
        return [e for e in self.examples if e.flavor == flavor]

    # ---- pixels

    def _raw(self, example: Example) -> RawImage | None:
        """Read by the description as far as it is known; None where it cannot be read so (then it is told)."""
        data = self._data(None, gains=False)
        try:
            reader = FitsReader(make_instrument(data, f"proposal for {self.name}"))
            reading = reader.read(example.path, reader.peek(example.path).cameras[0])
        except QuicklookError as error:
            self.unsure.add(f"{example.path.name}: cannot be read by the proposed description: {describe(error)}")
            return None
        return next(p for p in reading.products if isinstance(p, RawImage))

    def _trimmed(self, example: Example) -> Float32 | None:
        """Its data without bias, put together, ADU; None where it cannot be read."""
        raw = self._raw(example)
        if raw is None:
            return None
        out = np.zeros(raw.image_shape, np.float32)
        for amp in raw.amplifiers:
            pixels = np.asarray(raw.pixels[amp.data.slices], np.float32)
            bias = float(np.median(raw.pixels[amp.overscan.slices])) if amp.overscan else float(np.percentile(pixels, 1))
            out[amp.ccd.slices] = pixels - bias
        return out

    def _measure_gains(self) -> None:
        """Gain and read noise by pairs, put where the header gives none, or something else."""
        zeros = [r for e in self._of("zero")[:_PAIRS] if (r := self._raw(e))]
        flats = [r for e in (self._of("flat") or self._of(""))[:_PAIRS] if (r := self._raw(e))]
        each = self.layout.get("each", {})
        for k, (name, spec) in enumerate(self.layout["amplifiers"].items()):
            noise, mad = _read_noise(zeros, k, read_noise_of), _read_noise(zeros, k, mad_noise_of)
            gain, error = _gain(flats, k, noise)
            self._tell(f"amplifier {name}", gain, error, noise, mad)
            self._settle(name, spec, each, gain, noise)

    def _tell(self, where: str, gain: float, error: float, noise: float, mad: float) -> None:
        if math.isfinite(gain):
            self.findings.append(f"{where}: gain {gain:.3f} +- {error:.3f} electron/ADU from pairs of flats")
        if math.isfinite(noise):
            electrons = f" = {noise * gain:.2f} electron" if math.isfinite(gain) else ""
            of_mad = f" = {mad * gain:.2f} electron" if math.isfinite(gain) else ""
            self.findings.append(
                f"{where}: read noise {noise:.2f} ADU{electrons} from pairs of zeros (standard deviation; by the MAD of whole ADU {mad:.2f}{of_mad})"
            )

    def _settle(self, name: str, spec: dict[str, Any], each: Mapping[str, Any], gain: float, noise: float) -> None:
        """Put gain and read noise into the description of an amplifier."""
        keyword, where = spec.get("gain", each.get("gain")), f"amplifier {name}"
        stated = self._stated(keyword, name)
        if stated is not None and (not math.isfinite(gain) or abs(stated / gain - 1) < _AGREE):
            return
        if math.isfinite(gain):
            if stated is not None:
                self.unsure.add(f"layouts: the header says a gain of {stated:g} for {where}, pairs of flats {gain:.3f}; what was measured is taken")
            spec["gain"] = round(gain, 3)
            if math.isfinite(noise):
                spec["read_noise"] = round(noise * gain, 2)
            return
        doubtful = self.examples[0].number("GAIN")
        spec["gain"] = doubtful if doubtful is not None and _GAINS[0] < doubtful < _GAINS[1] else 1.0
        source = "that of the keyword GAIN" if doubtful == spec["gain"] else "a guess"
        self.unsure.add(f"layouts: the gain of {where} is {source}; two flats of one exposure time, well lit and not full, would tell it")
        if math.isfinite(noise):
            spec["read_noise"] = round(noise * spec["gain"], 2)

    def _stated(self, keyword: object, name: str) -> float | None:
        """The gain that the header gives for an amplifier."""
        if isinstance(keyword, int | float):
            return float(keyword)
        if not isinstance(keyword, str):
            return None
        value = self.examples[0].number(keyword.replace("{amp}", name))
        return value if value is not None and _GAINS[0] < value < _GAINS[1] else None

    # ---- the description

    def _data(self, optics: Optics | None, gains: bool = True) -> dict[str, Any]:
        """The description as plain data."""
        place = dict(self.readout.place)
        tags = place.pop("tags", "")
        if "camera_hdus" not in place and not self.names.camera:
            place["camera"] = self.hints.camera or self.head.camera or self.name
        layout = self.layout
        if not gains:
            layout = {**layout, "amplifiers": {n: {"gain": 1.0, **s} for n, s in layout["amplifiers"].items()}}
        longitude = self.hints.longitude if self.hints.longitude is not None else self.head.longitude
        words = f"{self.name}, as proposed from {len(self.examples)} frames"
        data: dict[str, Any] = {"name": self.name, "description": words, "telescope": self._telescope()}
        if longitude is not None:
            data["site"] = {"longitude_deg": round(longitude, 4)}
        data |= {"files": self.names.files, "layout": place}
        if tags:
            data["cameras"] = {"case": "lower", "tags": tags}
        data |= {"header": self.head.header, "layouts": [layout]}
        if optics is not None:
            data["orientation"] = {"transpose": bool(optics.transpose), "flip_y": optics.flip}
            data |= self._spectra(optics)
        return data

    def _telescope(self) -> str:
        return " ".join(str(self.examples[0].get("TELESCOP") or "").split())

    def _spectra(self, optics: Optics) -> dict[str, Any]:
        out: dict[str, Any] = {}
        slit = optics.slit is not None or self.hints.apertures is not None
        if slit:
            out["apertures"] = {"count": self.hints.apertures or optics.apertures}
        spectra: dict[str, Any] = {}
        if optics.fibres and not slit:
            spectra["fibres"] = optics.fibres
        if self.hints.dispersion is not None:
            spectra["dispersion"] = self.hints.dispersion
        if self.hints.centre is not None:
            spectra["centre"] = self.hints.centre
        if lamps := self.hints.lamps or self.head.lamps:
            spectra["lamps"] = list(lamps)
        if spectra:
            out["spectra"] = spectra
        if slit:
            out["chains"], out["builders"] = _SLIT_CHAINS, _SLIT_BUILDERS
        return out

    def _text(self, optics: Optics) -> str:
        data = self._data(optics)
        self._doubts(optics)
        lines = [f"# {self.name}: proposed by `quicklook instrument new`. Look at what is marked unsure, then take the mark away."]
        lines += unsure_lines(self.unsure.sentences)
        lines += [f"{k}: {flow(data[k])}" for k in ("name", "description", "telescope")]
        for key in ("site", "files", "layout", "cameras"):
            if key in data:
                lines += ["", *block(key, data[key])] if data[key] else []
        lines += ["", *block("header", data["header"], self.head.remarks)]
        lines += ["", *[f"# {f}" for f in self.findings], *layout_lines(data["layouts"][0], self.readout.remark or self._source())]
        direction = (
            "as told"
            if self.hints.flip is not None
            else "unsure: wavelength has to rise with y; flip_y turns it round"
            if optics.transpose is not None
            else "unsure: not known"
        )
        lines += ["", f"orientation: {flow(data['orientation'])}   # {direction}"]
        across = f"   # the slit: pixels {optics.slit[0] + 1} to {optics.slit[1] + 1} across the dispersion" if optics.slit else ""
        lines += [f"{key}: {flow(data[key])}{across if key == 'apertures' else ''}" for key in ("apertures", "spectra") if key in data]
        if "chains" in data:
            lines += ["", f"chains: {flow(data['chains'])}", f"builders: {flow(data['builders'])}"]
        return "\n".join(lines) + "\n"

    def _source(self) -> str:
        return "sections by the header" if self.readout.by_header else "sections by the statistics of the frames"

    def _doubts(self, optics: Optics) -> None:
        """What is not certain of the spectra."""
        if optics.transpose is not None and self.hints.flip is None:
            way = "the lamp is brighter at that end, which is red for most lamps" if optics.flip else "the lamp is brighter, or as bright, at its end"
            self.unsure.add(f"orientation.flip_y: that wavelength rises with y is a guess ({way})")
        if optics.transpose is not None and (self.hints.dispersion is None or self.hints.centre is None):
            setup = ", ".join(f"{k} = {v}" for k, v in self.head.setup.items())
            self.unsure.add(
                "spectra: dispersion (Angstrom per pixel) and central wavelength are not known; the builder psf starts from them:"
                " give --dispersion and --centre" + (f" (the header says {setup})" if setup else "")
            )
        if optics.fibres:
            self.unsure.add(f"spectra.fibres: {optics.fibres} peaks across the dispersion; dark fibres are not among them, and bundles are not told")
        if not self.hints.camera and not self.head.camera and "camera_hdus" not in self.readout.place and not self.names.camera:
            self.unsure.add("layout.camera: the header names no camera; it is called as the instrument (--camera gives another name)")

    def _row(self, instrument: Instrument, example: Example) -> Row:
        reader = FitsReader(instrument)
        try:
            peek = reader.peek(example.path)
            for camera in peek.cameras:
                reader.read(example.path, camera)
        except QuicklookError as error:
            return Row(file=example.path.name, night="", expid="", camera="", flavor="", problem=describe(error))
        problems = [s for key, said in peek.problems.items() if key != "companions" for s in said]
        if example.flavor and peek.flavor != example.flavor:
            problems.append(f"it is read as {peek.flavor}, its header sounds like {example.flavor}")
        night, expid = f"{peek.unit.night:08d}", str(peek.unit.expid)
        return Row(
            file=example.path.name, night=night, expid=expid, camera=", ".join(peek.cameras), flavor=peek.flavor, problem="; ".join(problems[:2])
        )


def _loaded(text: str) -> dict[str, Any]:
    import yaml

    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def _read_noise(zeros: Sequence[RawImage], k: int, of_pair: Callable[[Raw, Raw], float]) -> float:
    """Median over pairs of zeros, ADU; NaN where there are fewer than two."""
    pairs = [(a, b) for a, b in pairwise(zeros) if a.camera == b.camera and k < len(a.amplifiers) and k < len(b.amplifiers)]
    found = [of_pair(a.pixels[a.amplifiers[k].data.slices], b.pixels[b.amplifiers[k].data.slices]) for a, b in pairs]
    known = [v for v in found if math.isfinite(v)]
    return float(np.median(known)) if known else math.nan


def _gain(flats: Sequence[RawImage], k: int, noise: float) -> tuple[float, float]:
    """Median over pairs of neighbouring flats, electron/ADU, and its error; NaN where no pair serves."""
    found = []
    for a, b in pairwise(flats):
        if a.camera != b.camera or not (k < len(a.amplifiers) and k < len(b.amplifiers)):
            continue
        one, other = a.amplifiers[k], b.amplifiers[k]
        if one.overscan is None or other.overscan is None:
            continue
        bias = (float(np.median(a.pixels[one.overscan.slices])), float(np.median(b.pixels[other.overscan.slices])))
        pixels = a.pixels[one.data.slices], b.pixels[other.data.slices]
        light = [float(np.median(p)) - level for p, level in zip(pixels, bias, strict=True)]
        if min(light) > _ALIKE * max(light):  # a pair of one light
            found.append(gain_of(*pixels, bias, noise if math.isfinite(noise) else 5.0))
    known = [(g, e) for g, e in found if math.isfinite(g)]
    if not known:
        return math.nan, math.nan
    return float(np.median([g for g, _ in known])), float(np.median([e for _, e in known])) / math.sqrt(len(known))
