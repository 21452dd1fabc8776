"""Hostile input, as generators: files, configuration, options, messages. One corpus for every test of what must not be believed.

A case says what it is, makes itself in a folder, and where the answer matters, which words the answer holds.
"""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from quicklook.sim import SimInstrument, plan_exposure, simulate_exposure
from quicklook.sim.headers import primary_cards

NIGHT, EXPID, CAMERA = 20220101, 101, "r0"
BLOCK = 2880


# ---- FITS written here, card by card, so that it can be wrong in any way


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A card as it stands, not formatted."""

    text: str


Cards = dict[str, Any]


def _name(key: str) -> str:
    return f"{key:8s}" if len(key) <= 8 else f"HIERARCH {key} "


def card(key: str, value: Any) -> bytes:
    """One card of 80 bytes."""
    if isinstance(value, Verbatim):
        text = value.text
    elif isinstance(value, str):
        text = f"{_name(key)}= '{value:8s}'"
    else:
        shown = {True: "T", False: "F"}[value] if isinstance(value, bool) else repr(value).upper() if isinstance(value, float) else str(value)
        text = f"{_name(key)}= {shown:>20s}"
    return text.encode("latin-1")[:80].ljust(80)


def pad(data: bytes, fill: bytes = b"\0") -> bytes:
    """Filled up to whole blocks."""
    return data + fill * (-len(data) % BLOCK)


def header(cards: Cards, *, end: bool = True) -> bytes:
    """Header blocks; a value of None leaves its card out."""
    body = b"".join(card(k, v) for k, v in cards.items() if v is not None)
    return pad(body + (b"END".ljust(80) if end else b""), b" ")


@cache
def simulated(flavor: str = "zero") -> Any:
    return simulate_exposure(SimInstrument(camera=CAMERA, scale="tiny", seed=5), plan_exposure(flavor, EXPID, night=NIGHT))  # type: ignore[arg-type]


def primary(flavor: str = "zero") -> Cards:
    """Cards of a good primary HDU."""
    sim = simulated(flavor)
    return {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True, **{c.name: c.value for c in primary_cards((sim.instrument,), sim.planned)}}


def extension(pixels: np.ndarray | None = None, flavor: str = "zero") -> tuple[Cards, bytes]:
    """Cards and data of a good image extension, or of one with other pixels of any type and shape."""
    sim = simulated(flavor)
    data = sim.raw if pixels is None else pixels
    big = np.ascontiguousarray(data).astype(data.dtype.newbyteorder(">"))
    bitpix = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}[data.dtype.str[1:]]
    cards: Cards = {"XTENSION": "IMAGE", "BITPIX": bitpix, "NAXIS": data.ndim}
    cards |= {f"NAXIS{i + 1}": n for i, n in enumerate(reversed(data.shape))}
    cards |= {"PCOUNT": 0, "GCOUNT": 1, "EXTNAME": CAMERA.upper(), **sim.header}
    return cards, pad(big.tobytes())


def fits(
    *, head: Cards | None = None, image: Cards | None = None, pixels: np.ndarray | None = None, flavor: str = "zero", data: bytes | None = None
) -> bytes:
    """A good file of one camera (its primary header is one block), changed: `head` and `image` replace cards (None: leave out), `pixels` the pixels, `data` the raw bytes."""
    cards, good = extension(pixels, flavor)
    return header(primary(flavor) | (head or {})) + header(cards | (image or {})) + (good if data is None else data)


@cache
def compressed() -> bytes:
    """A good file as the simulator writes it: tile-compressed."""
    import tempfile

    from quicklook.sim import write_exposure

    with tempfile.TemporaryDirectory() as folder:
        sim = simulated()
        return write_exposure(Path(folder), sim.planned, [sim.instrument]).read_bytes()


def amp_cards(**by_key: Any) -> Cards:
    """The same value for a key of all amplifiers: ``GAIN=0``."""
    return {f"{key}{amp}": value for key, value in by_key.items() for amp in "ABCD"}


# ---- files


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileFile:
    """A file that is not what it should be.

    `says`: words (regular expression) that the answer must hold; `good`: its data are good and it may be NORMAL.
    """

    name: str
    content: Callable[[], bytes] = field(default=lambda: b"")
    file: str = f"desi-{EXPID:08d}.fits"
    says: str = ""
    good: bool = False
    place: Callable[[Path, bytes], Path] | None = None

    def write(self, folder: Path) -> Path:
        """The path of the file, in <folder>/<night>/<expid>/."""
        inside = folder / str(NIGHT) / f"{EXPID:08d}"
        inside.mkdir(parents=True, exist_ok=True)
        if self.place is not None:
            return self.place(inside, self.content())
        path = inside / self.file
        path.write_bytes(self.content())
        return path


FZ = f"desi-{EXPID:08d}.fits.fz"
GZ = f"desi-{EXPID:08d}.fits.gz"


def _cuts() -> Iterator[HostileFile]:
    for name, make, file in (("plain", fits, FZ[:-3]), ("compressed", compressed, FZ)):
        for where, at in {
            "in the first card": lambda n: 40,
            "in the primary header": lambda n: 1000,
            "after the primary header": lambda n: BLOCK,
            "in the header of the camera": lambda n: BLOCK + 500,
            "after a third": lambda n: n // 3,
            "a block short": lambda n: n - BLOCK,
            "a byte short": lambda n: n - 1,
        }.items():
            says = "" if where == "after the primary header" else r"bytes|truncated|cut|short|complete"
            yield HostileFile(name=f"{name}, cut {where}", content=lambda m=make, a=at: m()[: a(len(m()))], file=file, says=says)  # type: ignore[misc]


def _gzips() -> Iterator[HostileFile]:
    def whole() -> bytes:
        return gzip.compress(fits(), 1)

    yield HostileFile(name="gzip, cut", content=lambda: whole()[: len(whole()) // 2], file=GZ)
    yield HostileFile(name="gzip, last byte missing", content=lambda: whole()[:-1], file=GZ)
    yield HostileFile(name="gzip, wrong checksum", content=lambda: whole()[:-8] + b"\1\2\3\4" + whole()[-4:], file=GZ)
    yield HostileFile(name="gzip of a text", content=lambda: gzip.compress(b"hello\n" * 500), file=GZ)
    yield HostileFile(name="gzip of nothing", content=lambda: gzip.compress(b""), file=GZ)
    yield HostileFile(name="gzip head alone", content=lambda: b"\x1f\x8b\x08\0", file=GZ)
    yield HostileFile(name="gzip of zeros without end", content=lambda: gzip.compress(fits() + bytes(50_000_000), 1), file=GZ)
    yield HostileFile(name="plain under a gzip name", content=fits, file=GZ, good=True)
    yield HostileFile(name="gzip under a plain name", content=whole, good=True)


def _other_things() -> Iterator[HostileFile]:
    noise = np.random.default_rng(1).integers(0, 256, 20_000, dtype=np.uint8).tobytes()
    things = {
        "one byte": b"S",
        "a block of blanks": b" " * BLOCK,
        "zeros": bytes(100_000),
        "a text": b"The shutter did not open.\n" * 200,
        "a PNG": b"\x89PNG\r\n\x1a\n" + noise,
        "HTML": b"<html><body>404 Not Found</body></html>",
        "noise": noise,
        "SIMPLE and noise": b"SIMPLE  =                    T" + noise,
        "SIMPLE is false": header(primary() | {"SIMPLE": False}),
        "a header without END": header(primary(), end=False) * 60,
        "a header without NAXIS": header({"SIMPLE": True, "BITPIX": 8}),
        "two ends of line": b"SIMPLE  =                    T\nBITPIX  =                    8\nNAXIS   =                    0\nEND\n",
        "a text that looks like markup": b"[/red] [bold]nothing[/bold] [link=x]\n" * 100,
        "control characters in the header": header(primary() | {"OBJECT": Verbatim("OBJECT  = 'a\x00b\x07\xff'")}) + fits()[BLOCK:],
    }
    yield HostileFile(name="empty", says="empty")
    for name, content in things.items():
        yield HostileFile(name=name, content=lambda c=content: c)  # type: ignore[misc]


def _other_fits() -> Iterator[HostileFile]:
    sim = simulated()
    ny, nx = sim.raw.shape
    table: Cards = {
        "XTENSION": "BINTABLE",
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": 8,
        "NAXIS2": 10,
        "PCOUNT": 0,
        "GCOUNT": 1,
        "TFIELDS": 1,
        "TFORM1": "D",
        "TTYPE1": "X",
    }
    yield HostileFile(name="a table", content=lambda: header(primary()) + header(table | {"EXTNAME": "R0"}) + pad(bytes(80)))
    yield HostileFile(name="no extension", content=lambda: header(primary()))
    yield HostileFile(name="extension of another name", content=lambda: fits(image={"EXTNAME": "GUIDE1"}))
    yield HostileFile(name="extension of a name that looks like markup", content=lambda: fits(image={"EXTNAME": "[/red]"}))
    yield HostileFile(name="extension without data", content=lambda: fits(image={"NAXIS": 0, "NAXIS1": None, "NAXIS2": None}, data=b""))
    yield HostileFile(name="the same camera twice", content=lambda: fits() + fits()[BLOCK:])
    for name, shape in {"a cube": (2, ny, nx), "one-dimensional": (ny * nx,), "one pixel": (1, 1), "two pixels": (1, 2), "one row": (1, nx)}.items():
        yield HostileFile(name=name, content=lambda s=shape: fits(pixels=np.resize(sim.raw, s)))  # type: ignore[misc]
    yield HostileFile(name="another size than its sections", content=lambda: fits(pixels=sim.raw[: ny // 2, : nx // 2]))


def _pixels() -> Iterator[HostileFile]:
    raw = simulated().raw
    rng = np.random.default_rng(2)
    for name, pixels in {
        "NaN everywhere": np.full(raw.shape, np.nan, np.float32),
        "infinite everywhere": np.full(raw.shape, np.inf, np.float32),
        "all zero": np.zeros_like(raw),
        "constant": np.full_like(raw, 1005),
        "all at 65535": np.full_like(raw, 65535),
        "all at the lowest int32": np.full_like(raw, -(2**31)),
        "huge floats": np.full(raw.shape, 3e38, np.float32),
        "float64 beyond float32": np.full(raw.shape, 1e300),
        "noise of a million": rng.normal(0, 1e6, raw.shape).astype(np.float32),
        "int64 beyond int32": np.full(raw.shape, 2**40, np.int64),
        "bytes": np.full(raw.shape, 200, np.uint8),
        "one amplifier NaN": np.where(np.arange(raw.shape[1]) < raw.shape[1] // 2, raw, np.nan).astype(np.float32),
    }.items():
        yield HostileFile(name=name, content=lambda p=pixels: fits(pixels=p))  # type: ignore[misc]


def _headers() -> Iterator[HostileFile]:
    def both(cards: Cards, **more: Any) -> Callable[[], bytes]:
        return lambda: fits(head={k: v for k, v in cards.items() if k in primary()}, image=cards, **more)

    for key, says in {
        "GAINA": "GAINA", "FLAVOR": "FLAVOR", "EXPTIME": "EXPTIME", "DATASECB": "DATASECB", "CCDSECC": "CCD section of amplifier C", "CAMERA": "CAMERA",
        "DATE-OBS": "DATE-OBS",
    }.items():  # fmt: skip
        yield HostileFile(name=f"{key} is missing", content=both({key: None, **({"OBSTYPE": None} if key == "FLAVOR" else {})}), says=says)
    yield HostileFile(name="no section at all", content=both(amp_cards(DATASEC=None, CCDSEC=None, BIASSEC=None, PRESEC=None, ORSEC=None)))
    yield HostileFile(name="no card but those of FITS", content=lambda: _bare())
    for value in (0, -1, "abc", "NaN", 1e30, Verbatim("GAINA   = 1,3"), Verbatim("GAINA   ="), Verbatim("GAINA   =                  NaN")):
        text = value.text if isinstance(value, Verbatim) else repr(value)
        yield HostileFile(name=f"GAINA {text}", content=both({"GAINA": value}), says="(?i)gain")
    for name, section in {
        "outside": "[1:99999,1:99999]",
        "inside out": "[50:1,1:64]",
        "of nothing": "[0:0,0:0]",
        "text": "left half",
        "empty": "",
        "a number": 5,
        "of one pixel": "[1:1,1:1]",
        "huge": "[1:99999999999999999999,1:2]",
        "negative": "[-5:10,1:64]",
        "markup": "[/red]",
    }.items():
        for key in ("DATASECA", "CCDSECA", "BIASSECA"):
            yield HostileFile(name=f"{key} {name}", content=both({key: section}))
    overlap = simulated().header["CCDSECA"]
    yield HostileFile(name="CCD sections overlap", content=both({"CCDSECB": overlap}), says="overlap")
    for key, values in {
        "EXPTIME": (-5, "abc", 1e30, Verbatim("EXPTIME =                  NaN")),
        "DATE-OBS": ("yesterday", "0000-00-00T00:00:00", "9999-12-31T23:59:59", 5),
        "NIGHT": (0, -1, "abc", 99999999, 20220102),
        "EXPID": (-1, 10**20, "abc", 1.5, 102),
        "FLAVOR": ("", "x" * 60, 17),
        "CAMERA": ("b7", "", 5),
        "RDNOISEA": (-1, "x", 1e30),
        "SATURLEVA": (-1, "x"),
    }.items():
        for value in values:
            text = value.text[10:].strip() if isinstance(value, Verbatim) else repr(value)
            yield HostileFile(name=f"{key} {text[:20]}", content=both({key: value}))


def _bare() -> bytes:
    cards, data = extension()
    fixed = {k: v for k, v in cards.items() if k in ("XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTNAME")}
    return header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 0}) + header(fixed) + data


def _structure() -> Iterator[HostileFile]:
    for name, cards in {
        "NAXIS1 of two thousand million": {"NAXIS1": 2**31},
        "NAXIS beyond 64 bits": {"NAXIS1": 10**30},
        "NAXIS1 negative": {"NAXIS1": -5},
        "NAXIS1 zero": {"NAXIS1": 0},
        "NAXIS1 a text": {"NAXIS1": "abc"},
        "NAXIS 999": {"NAXIS": 999},
        "NAXIS 1000000": {"NAXIS": 1_000_000},
        "NAXIS missing": {"NAXIS": None},
        "BITPIX 7": {"BITPIX": 7},
        "BITPIX a text": {"BITPIX": "abc"},
        "PCOUNT negative": {"PCOUNT": -(10**9)},
        "PCOUNT huge": {"PCOUNT": 10**15},
        "GCOUNT huge": {"GCOUNT": 10**15},
        "XTENSION unknown": {"XTENSION": "FOREIGN"},
        "BSCALE zero": {"BSCALE": 0.0},
        "BSCALE a text": {"BSCALE": "x"},
        "BZERO huge": {"BZERO": 1e30},
    }.items():
        yield HostileFile(name=name, content=lambda c=cards: fits(image=c))  # type: ignore[misc]


def _compressed() -> Iterator[HostileFile]:
    def patched(key: str, value: str) -> bytes:
        """A card of the compressed file with another value, of the same length."""
        content = bytearray(compressed())
        at = content.rindex(f"{key:8s}=".encode())
        content[at + 10 : at + 80] = f"{value:>20s}".encode().ljust(70)
        return bytes(content)

    for key, value in {
        "ZNAXIS1": "2147483647", "ZNAXIS2": "100000000000", "ZNAXIS": "5", "ZBITPIX": "17", "ZTILE1": "0", "ZCMPTYPE": "'NONSENSE'", "ZVAL1": "'x'",
        "THEAP": "99999999", "TFORM1": "'1QB(9999999999)'", "PCOUNT": "4611686018427387904", "NAXIS2": "-1",
    }.items():  # fmt: skip
        if f"{key:8s}=".encode() in compressed():
            yield HostileFile(name=f"compressed, {key} {value}", content=lambda k=key, v=value: patched(k, v), file=FZ)  # type: ignore[misc]

    def heap() -> tuple[bytes, int]:
        content = compressed()
        end = content.rindex(b"END".ljust(80))
        return content, end + 80 + (-(end + 80)) % BLOCK

    def descriptors(count: int, offset: int) -> bytes:
        content, start = heap()
        return content[:start] + struct.pack(">ii", count, offset) * 40 + content[start + 320 :]

    yield HostileFile(
        name="compressed, heap of zeros", content=lambda: heap()[0][: heap()[1] + 4000] + bytes(len(heap()[0]) - heap()[1] - 4000), file=FZ
    )
    yield HostileFile(name="compressed, descriptors beyond the heap", content=lambda: descriptors(1000, 2**31 - 1), file=FZ)
    yield HostileFile(name="compressed, descriptors negative", content=lambda: descriptors(-1, -1), file=FZ)
    yield HostileFile(name="compressed, tiles of no bytes", content=lambda: descriptors(0, 0), file=FZ)
    yield HostileFile(name="compressed, tiles of everything", content=lambda: descriptors(2**31 - 1, 0), file=FZ)


def _places() -> Iterator[HostileFile]:
    def directory(folder: Path, _: bytes) -> Path:
        (folder / FZ).mkdir()
        return folder / FZ

    def loop(folder: Path, _: bytes) -> Path:
        (folder / FZ).symlink_to(folder / "b")
        (folder / "b").symlink_to(folder / FZ)
        return folder / FZ

    def dangling(folder: Path, _: bytes) -> Path:
        (folder / FZ).symlink_to(folder / "gone")
        return folder / FZ

    def fifo(folder: Path, _: bytes) -> Path:
        os.mkfifo(folder / FZ)
        return folder / FZ

    def unreadable(folder: Path, content: bytes) -> Path:
        (folder / FZ).write_bytes(content)
        (folder / FZ).chmod(0)
        return folder / FZ

    for name, place in {"a directory": directory, "a loop of links": loop, "a link to nothing": dangling, "a pipe": fifo}.items():
        yield HostileFile(name=name, place=place)
    yield HostileFile(name="not there", place=lambda folder, _: folder / "nothing-here.fits", says="there is no file")
    if os.geteuid() != 0:  # nothing is unreadable to root
        yield HostileFile(name="unreadable", content=fits, place=unreadable)
    for name, file in {
        "a name with blanks": " desi 00000101 .fits",
        "a name with a line break": "desi-\n00000101.fits",
        "a name of another alphabet": "дези-００００００01.fits",
        "a name that looks like markup": "[red]desi[bold]-00000101.fits",
        "a name that looks like an option": "-c.fits",
        "a name with a control character": "desi-\x1b[31m00000101.fits",
        "a name of 250 letters": "x" * 245 + ".fits",
        "a name of a number beyond 64 bits": "desi-99999999999999999999999999.fits",
        "a name without ending": "desi-00000101",
    }.items():
        yield HostileFile(name=name, file=file, content=fits, good=True)
    yield HostileFile(name="a name that is no UTF-8", content=fits, place=_not_utf8, says="UTF-8")
    yield HostileFile(name="broken, and its name looks like markup", file="[red]desi-00000101.fits", content=lambda: fits()[:-1])


def _not_utf8(folder: Path, content: bytes) -> Path:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/desi-\xff00000101.fits"))
    path.write_bytes(content)
    return path


@cache
def hostile_files() -> tuple[HostileFile, ...]:
    """All files."""
    made = (*_cuts(), *_gzips(), *_other_things(), *_other_fits(), *_pixels(), *_headers(), *_structure(), *_compressed(), *_places())
    names = [f.name for f in made]
    assert len(set(names)) == len(names)
    return made


GOOD_FILE = HostileFile(name="good", content=fits, good=True)
"""The file that all others are made of: nothing is wrong with it."""


# ---- configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileText:
    """A configuration file that cannot be used. `line`: where it is wrong, 0 where a line makes no sense."""

    name: str
    content: bytes
    line: int = 0
    says: str = ""


def _bomb() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


def hostile_yaml() -> tuple[HostileText, ...]:
    """What is wrong with any configuration, whatever it is of."""
    texts: dict[str, tuple[str | bytes, int, str]] = {
        "empty": ("", 0, "empty"),
        "a comment alone": ("# to do\n", 0, "empty"),
        "a list": ("- a\n- b\n", 1, "mapping"),
        "a word": ("hello\n", 1, "mapping"),
        "a number": ("17\n", 1, "mapping"),
        "a tab": ("chain: a\nsteps:\n\t- name: read\n", 3, "tab"),
        "a duplicate key": ("chain: a\ndoc: b\nchain: c\n", 3, "written twice"),
        "a bracket that is not closed": ("chain: [a\ndoc: b\n", 2, ""),
        "a quote that is not closed": ('chain: "a\ndoc: b\n', 0, ""),
        "a python tag": ("chain: !!python/object/apply:os.system [touch /tmp/owned]\n", 1, "not allowed"),
        "a binary tag": ("chain: !!binary aGVsbG8=\n", 1, "not allowed"),
        "an alias bomb": (_bomb(), 0, "too many"),
        "an alias to nothing": ("chain: *nothing\n", 1, "nothing"),
        "an alias to itself": ("chain: &a [*a]\n", 1, ""),
        "two documents": ("chain: a\n---\nchain: b\n", 2, "second document"),
        "nested too deep": ("a: " + "[" * 500 + "]" * 500, 1, "deep"),
        "huge": ("a: " + "x" * (5 << 20), 0, "MiB|too many"),
        "a very long number": ("chain: " + "9" * 5000 + "\n", 1, ""),
        "control characters": ("chain: a\x07\n", 1, "character"),
        "UTF-16": ("chain: a\n".encode("utf-16"), 0, ""),
        "Latin-1": ("doc: caf\xe9\n".encode("latin-1"), 1, "UTF-8"),
        "noise": (np.random.default_rng(3).integers(0, 256, 4000, dtype=np.uint8).tobytes(), 0, ""),
        "a FITS file": (fits()[:20000], 0, ""),
        "unknown key": ("colour: red\n", 1, "unknown key 'colour'"),
    }
    return tuple(
        HostileText(name=name, content=text if isinstance(text, bytes) else text.encode(), line=line, says=says)
        for name, (text, line, says) in texts.items()
    )


CHAIN = b"""\
chain: mine
lookup: [arm, flavor]
steps:
  - name: read
    qas: [dead_amp]
  - name: preproc
    params:
      overscan: row
      pixflat_min: {b: 0.2, _default: 0.1}
    qas: [image_level]
"""
SITE = b"""\
instrument: desi
raw: .
out: out
chains: {_default: raw}
watch: {settle_s: 0.1}
work: {executor: inline, workers: 1}
sinks: {files: {}}
params: {preproc: {overscan: row}}
"""
LIMITS = b"""\
limits:
  - metric: read_noise
    unit: electron
    normal: [1, 4]
    warning: [0, 5]
    when: {flavor: zero, amp: A}
    reason: as always
    action: look
"""
INSTRUMENT = b"""\
name: bench
files:
  patterns: ["bench-{expid:4d}.fits"]
layout: {camera: bench}
header:
  flavor: {keywords: IMAGETYP, case: lower}
layouts:
  - amplifiers:
      X: {data: "[1:64,:]", overscan: "[65:96,:]", gain: 2.0}
"""
GOOD_TEXTS = {"chain": CHAIN, "site": SITE, "limits": LIMITS, "instrument": INSTRUMENT}

_EDITS: dict[str, tuple[tuple[str, str, int, str], ...]] = {
    "chain": (
        ("name: preproc", "name: prepoc", 6, "did you mean 'preproc'"),
        ("[dead_amp]", "[dead_ampp]", 5, "did you mean 'dead_amp'"),
        ("overscan: row", "overscn: row", 8, "did you mean 'overscan'"),
        ("overscan: row", "overscan: raw", 8, "did you mean 'row'"),
        ("overscan: row", "overscan: [row]", 8, ""),
        ("b: 0.2", "b: wide", 9, "must be a number"),
        ("b: 0.2", "b: 2.0", 9, "less than 1"),
        ("b: 0.2", "b: .nan", 9, ""),
        ("b: 0.2", "b: 3 s", 9, ""),
        ("lookup: [arm", "lookup: [amr", 2, "unknown tag 'amr'"),
        ("steps:", "step:", 3, "did you mean 'steps'"),
        ("  - name: read\n    qas: [dead_amp]\n", "", 4, "the first step reads"),
        ("qas: [image_level]", "qas: [image_level, image_level]", 10, "twice"),
        ("qas: [dead_amp]", "qas: [lit_fraction]", 5, "needs Image"),
        ("name: preproc", "name: [preproc]", 6, "text"),
        ("steps:", "steps: 3\nold:", 3, "list"),
        ("chain: mine", "chain: 3", 1, "quotes"),
    ),
    "site": (
        ("instrument: desi", "instrument: dessi", 0, "did you mean 'desi'"),
        ("instrument: desi", "", 0, "which instrument"),
        ("raw: .", "rawfolder: .", 2, "unknown key 'rawfolder'"),
        ("_default: raw", "_default: rawr", 0, "did you mean 'raw'"),
        ("settle_s: 0.1", "settle_s: -1", 5, "0"),
        ("settle_s: 0.1", "settle_s: soon", 5, "number"),
        ("settle_s: 0.1", "setle_s: 0.1", 5, "did you mean 'settle_s'"),
        ("executor: inline", "executor: cloud", 6, "processes"),
        ("workers: 1", "workers: 1.5", 6, "whole number"),
        ("{files: {}}", "{fills: {}}", 0, "did you mean 'files'"),
        ("{files: {}}", "{files: {colour: red}}", 0, "colour"),
        ("{files: {}}", "[files]", 7, "mapping"),
        ("overscan: row", "overscan: raw", 0, "row"),
        ("preproc: {", "prepoc: {", 0, "did you mean 'preproc'"),
        ("raw: .", "raw: nowhere", 0, "no folder"),
        ("out: out", "out: [out]", 3, "text"),
        ("out: out", "tag: ../../etc", 3, "tag"),
    ),
    "limits": (
        ("read_noise", "red_noise", 2, "no QA measures 'red_noise'"),
        ("unit: electron", "unit: adu", 2, "in 'adu'"),
        ("[1, 4]", "[4, 1]", 2, "inside out"),
        ("[1, 4]", "[1, .nan]", 4, "finite"),
        ("[0, 5]", "[2, 3]", 2, "must contain"),
        ("amp: A", "amplifier: A", 2, "neither a tag nor a dimension"),
        ("    action: look\n", "", 2, "required"),
        ("reason: as always", "reason: ''", 7, "character"),
        ("limits:", "limit:", 1, "did you mean 'limits'"),
    ),
    "instrument": (
        ("name: bench\n", "", 0, "name"),
        ("name: bench", "name: a/b", 1, "pattern"),
        ("bench-{expid:4d}.fits", "regex:bench-(.fits", 3, "regular expression|pattern"),
        ("data:", "dta:", 9, "did you mean 'data'"),
        ("gain: 2.0", "gain: {a: 2}", 9, ""),
        ('layouts:\n  - amplifiers:\n      X: {data: "[1:64,:]", overscan: "[65:96,:]", gain: 2.0}\n', "layouts: []\n", 7, ""),
        ("case: lower", "case: small", 6, "lower"),
        ("header:", "extends: bench\nheader:", 0, ""),
        ("header:", "extends: nothing\nheader:", 0, "nothing"),
        ("header:", "reader: fitz\nheader:", 0, "did you mean 'fits'"),
    ),
}


def hostile_config(kind: str) -> tuple[HostileText, ...]:
    """Mistakes in a configuration of a kind (chain, site, limits, instrument): a good text with one thing wrong."""
    good, out = GOOD_TEXTS[kind].decode(), []
    for old, new, line, says in _EDITS[kind]:
        assert old in good, f"{kind}: {old!r} is not in the good text"
        out.append(
            HostileText(
                name=f"{old.strip().splitlines()[0]} -> {new.strip() or 'nothing'}", content=good.replace(old, new, 1).encode(), line=line, says=says
            )
        )
    return tuple(out)


OVERRIDES = (
    "", "=", "preproc", "preproc=", "preproc.=1", ".x=1", "preproc.overscan", "preproc.overscan=", "=preproc.overscan", "preproc..overscan=row",
    "preproc.overscan=raw", "preproc.overscn=row", "prepoc.overscan=row", "preproc.pixflat_min=wide", "preproc.pixflat_min=7", "preproc.pixflat_min=.nan",
    "preproc.pixflat_min=-.inf", "preproc.overscan_smooth=1.5", "preproc.overscan_smooth=-1", "preproc.overscan_trim=[1]", "preproc.overscan_trim=[1, 2, 3]",
    "preproc.overscan_trim={a: 1}", "preproc.overscan_trim[5]=1", "preproc.use_bias=maybe", "preproc.pixflat_min={b: wide, _default: 0.1}",
    "preproc.pixflat_min={b: 0.1", "preproc.pixflat_min=!!python/object:os.system x", "preproc.pixflat_min=*a", "preproc.pixflat_min=a: b",
    "preproc.badamps={", "preproc.badamps=[b7D]", "preproc.badamps=???", "preproc.pixflat_min=" + "9" * 400, "preproc.pixflat_min={}", "read.x=1", "dead_amp.x=1",
    "preproc.pixflat_min=0.1\n", "preproc.\n=1", "préproc.overscan=row", "preproc.pixflat_min=3 s", "steps[1].params.overscan=row", "preproc.overscan=\x00",
)  # fmt: skip
"""Options ``-c`` that cannot be used."""
HARMLESS = ("preproc.pixflat_min=0.1\n",)
"""Those of `OVERRIDES` that are only odd: a line break at the end of the value says nothing."""


# ---- messages


def hostile_frames() -> dict[str, list[bytes]]:
    """Frames as they may come out of a socket, none of them a message of a daemon."""
    good = b'{"kind": "verdict", "unit": null, "part": "r0", "tag": "live", "revision": 0, "payload": {}, "schema_version": 1, "epoch": "e", "seq": 1, "time": 5}'
    cases = {
        "no frame": [],
        "one empty frame": [b""],
        "the topic alone": [b"verdict/r0/-"],
        "empty frames": [b"", b""],
        "garbage": [b"\xff\xfe\x00", bytes(range(256))],
        "not JSON": [b"t", b"status: NORMAL"],
        "half of the JSON": [b"t", good[: len(good) // 2]],
        "two JSON texts": [b"t", good + good],
        "a list": [b"t", b"[1, 2]"],
        "a word": [b"t", b'"NORMAL"'],
        "null": [b"t", b"null"],
        "an empty object": [b"t", b"{}"],
        "not UTF-8": [b"t", good.replace(b"live", b"\xff\xff")],
        "UTF-16": [b"t", good.decode().encode("utf-16")],
        "NaN": [b"t", good.replace(b'"time": 5', b'"time": NaN')],
        "an unknown field": [b"t", good.replace(b'"tag"', b'"colour": "red", "tag"')],
        "seq zero": [b"t", good.replace(b'"seq": 1', b'"seq": 0')],
        "seq a text": [b"t", good.replace(b'"seq": 1', b'"seq": "many"')],
        "time a float": [b"t", good.replace(b'"time": 5', b'"time": 5.5')],
        "payload a list": [b"t", good.replace(b'"payload": {}', b'"payload": []')],
        "payload null": [b"t", good.replace(b'"payload": {}', b'"payload": null')],
        "kind a number": [b"t", good.replace(b'"verdict"', b"7")],
        "deep": [b"t", b"[" * 100_000],
        "deep in the payload": [b"t", good.replace(b'"payload": {}', b'"payload": {"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}")],
        "huge": [b"t", b"x" * 20_000_000],
        "a thousand frames": [b"t"] * 1000,
    }
    for field_name in ("kind", "epoch", "seq", "time", "payload"):
        import json

        data = json.loads(good)
        del data[field_name]
        cases[f"without {field_name}"] = [b"t", json.dumps(data).encode()]
    return cases


GOOD_FRAMES = [
    b"verdict/r0/-",
    b'{"kind": "verdict", "unit": null, "part": "r0", "tag": "live", "revision": 0, "payload": {}, "schema_version": 1, "epoch": "e", "seq": 1, "time": 5}',
    b"attachment",
]
