"""The incident bundle: what is in it, what must not be, and that it says what it lacks. The command line of reports and bundles."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from reported import UNIT, Results
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.keys import Unit
from quicklook.core.reporting import reporter
from quicklook.io.instrument import load_instrument
from quicklook.io.reader import open_reader
from quicklook.service.reporting.bundle import BundleWish, _Archive, write_bundle
from quicklook.service.reporting.place import ReportPlace
from quicklook.service.reporting.secrets import clean_text, without_secrets


def bundled(results: Results, path: Path, **wish: object) -> tuple[zipfile.ZipFile, list[str]]:
    place = ReportPlace(results.out)
    left_out = write_bundle(reporter(), place, UNIT, path / "b.zip", BundleWish(**wish))  # type: ignore[arg-type]
    place.close()
    return zipfile.ZipFile(path / "b.zip"), left_out


@pytest.fixture
def bundle(with_run: Results, tmp_path: Path) -> zipfile.ZipFile:
    return bundled(with_run, tmp_path)[0]


def test_it_has_what_an_expert_needs(bundle: zipfile.ZipFile) -> None:
    names = set(bundle.namelist())
    wanted = {"index.html", "README.txt", "MANIFEST.json", "rerun.sh", "log.txt", "events.jsonl", "versions.json", "housekeeping.csv", "verdict.json"}
    assert wanted <= names
    assert {"decision.json", "qa-r0-00000102.json", "configuration/site.yaml", "configuration/run.json", "cutouts/r0_amp_C.fits"} <= names
    assert "aim --night 20220101 --expid 102" in bundle.read("rerun.sh").decode()
    told = json.loads(bundle.read("MANIFEST.json"))
    assert all(hashlib.sha256(bundle.read(name)).hexdigest() == digest for name, digest in told.items())
    assert set(told) == names - {"MANIFEST.json"}


def test_a_cut_out_is_the_raw_frame_around_what_was_found(bundle: zipfile.ZipFile, with_run: Results) -> None:
    raw = next(p for p in open_reader(load_instrument("desi")).read(with_run.raw, "r0").products if p.kind == "raw").oriented()  # type: ignore[attr-defined]
    (hdu,) = fits.open(io.BytesIO(bundle.read("cutouts/r0_amp_C.fits")))
    y, x = hdu.header["Y0"], hdu.header["X0"]
    ny, nx = hdu.data.shape
    np.testing.assert_array_equal(hdu.data, raw.pixels[y : y + ny, x : x + nx])
    amp = next(a for a in raw.amplifiers if a.name == "C")
    assert amp.data.y0 < y + ny
    assert x < amp.data.x1
    assert hdu.header["BUNIT"] == "adu"
    assert bundle.read("cutouts/r0_amp_C.png")[:4] == b"\x89PNG"


def test_housekeeping_of_the_window_says_which_samples_are_valid(bundle: zipfile.ZipFile) -> None:
    rows = list(csv.DictReader(io.StringIO(bundle.read("housekeeping.csv").decode())))
    assert [(r["channel"], r["unit"], r["value"], r["valid"]) for r in rows] == [
        ("TEMP", "degC", "4.0", "yes"), ("TEMP", "degC", "6.0", "yes"), ("TEMP", "degC", "999999.0", "no"), ("TEMP", "degC", "8.0", "yes"),
    ]  # fmt: skip


def test_no_secret_is_in_it(bundle: zipfile.ZipFile) -> None:
    for name in bundle.namelist():
        assert b"hunter2" not in bundle.read(name), name
    site = bundle.read("configuration/site.yaml").decode()
    assert "env:CHAT" in site
    assert "(removed)" in site


def test_its_page_opens_offline(bundle: zipfile.ZipFile) -> None:
    page = bundle.read("index.html").decode()
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert links
    assert all(link in bundle.namelist() for link in links if not link.startswith("data:"))
    assert "<script" not in page


def test_a_bundle_that_would_be_too_large_says_what_is_left_out(with_run: Results, tmp_path: Path) -> None:
    bundle, left_out = bundled(with_run, tmp_path, most_bytes=10_000)
    assert any(text.startswith("qa-r0") for text in left_out)
    assert all(text in bundle.read("README.txt").decode() for text in left_out)
    assert (tmp_path / "b.zip").stat().st_size < 60_000
    bundled(with_run, tmp_path)
    whole = (tmp_path / "b.zip").stat().st_size
    bundled(with_run, tmp_path, most_bytes=whole - 2000)
    assert (tmp_path / "b.zip").stat().st_size <= whole - 2000, "the page counts, too"
    assert "index.html" in bundle.namelist()


def test_what_is_small_in_the_archive_fits(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        archive = _Archive(file, 10_000)
        assert archive.add("housekeeping.csv", b"1,2,3\n" * 10_000)
        assert not archive.add("noise", np.random.default_rng(1).bytes(60_000))
    assert (tmp_path / "a.zip").stat().st_size < 10_000


def test_without_run_journal_and_raw_file_it_is_made_of_what_is_there(results: Results, tmp_path: Path) -> None:
    bundle, left_out = bundled(results, tmp_path)
    told = "\n".join(left_out)
    for words in ("cut-outs: it is not known which raw file", "housekeeping: no configuration", "configuration: none of a run", "log.txt is empty"):
        assert words in told
    assert "index.html" in bundle.namelist()
    told = bundle.read("README.txt").decode().split("Left out:")[0]
    assert "qa-*.json" in told
    assert not any(name in told for name in ("cutouts/", "housekeeping.csv", "configuration/")), "it lists what it has"


def test_a_raw_file_that_is_gone(with_run: Results, tmp_path: Path, stored_once: Results) -> None:
    hidden = with_run.raw.with_suffix(".away")
    with_run.raw.rename(hidden)
    try:
        assert any("is not there any more" in text for text in bundled(with_run, tmp_path)[1])
    finally:
        hidden.rename(with_run.raw)


def test_of_an_exposure_that_is_not_there_no_archive_is_left(results: Results, tmp_path: Path) -> None:
    with pytest.raises(BadData):
        write_bundle(reporter(), ReportPlace(results.out), Unit(20220101, 999), tmp_path / "b.zip", BundleWish())
    assert not list(tmp_path.glob("*b.zip*"))


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("smtp://me:pa55@host/x", "pa55"),
        ("password = pa55", "pa55"),
        ('"api_key": "pa55"', "pa55"),
        ("Authorization: Bearer pa55", "pa55"),
        ("--influx-token pa55 --other", "pa55"),
        ("https://hooks.example.org/services/T0/pa55", "pa55"),
        ("postgresql+psycopg://u:pa55@db:5432/q", "pa55"),
        ("postgresql://u:x/pa55@db/q", "pa55"),
        ("postgresql://u:x@pa55@db/q", "pa55"),
        ("Authorization: Token pa55", "pa55"),
        ("X-Api-Key: pa55", "pa55"),
        ("smtp_pass: pa55", "pa55"),
        ("password: 'two words pa55'", "pa55"),
        ('{\\"token\\": \\"pa55\\"}', "pa55"),
        ("http://h:8086/write?u=me&p=pa55&db=x", "pa55"),
        ("https://alerts.example/v1/AbCdEf0123456789AbCdEf0pa55", "pa55"),
    ],
)
def test_secrets_in_texts(text: str, gone: str) -> None:
    assert gone not in clean_text(text)
    assert gone not in str(without_secrets({"a": [{"b": text}], "token": gone, "passphrase": gone, "sub": {"webhook": gone}}))


def test_secrets_of_a_command_line_and_in_numbers_and_below_a_secret_name() -> None:
    data = {"command": ["quicklook", "--token", "pa55", "--site", "a.yaml"], "token": 123455, "auth": {"user": "pa55"}, "secret": False, "n": 7}
    found = without_secrets(data)
    assert "pa55" not in str(found)
    assert "123455" not in str(found)
    assert found["command"][3:] == ["--site", "a.yaml"]
    assert (found["secret"], found["n"]) == (False, 7)


def test_what_was_cleaned_is_still_json() -> None:
    assert json.loads(clean_text(json.dumps({"said": 'it said "token": "abc def", and', "token": "abc"})))["token"] == "(removed)"


@pytest.mark.parametrize("unit", ["a", "a://", "token-", "-", "pass_", "http://a/"])
def test_a_long_hostile_text_is_cleaned_in_time(unit: str) -> None:
    began = time.process_time()
    clean_text(unit * (40_000 // len(unit)))
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("text", ["the token is read from a file", "keys: env:KEY", "token: file:/run/t", "2022-01-01T00:00:00Z a@b.org", "r0: ALARM: x"])
def test_what_is_no_secret_stays(text: str) -> None:
    assert clean_text(text) == text


# ---- the command line


def quicklook(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(found.exception, BadConfig | BadData):
        return 2, f"{found.exception} {found.exception.what_next}"
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def test_a_report_and_a_bundle_by_command(with_run: Results, tmp_path: Path) -> None:
    status, text = quicklook("report", "102", "--out", with_run.out, "--format", "pdf,html")
    assert status == 1
    assert (with_run.folder / "report-00000102.pdf").read_bytes()[:5] == b"%PDF-"
    assert str(with_run.folder / "report-00000102.html") in text
    assert quicklook("report", "101", "--out", with_run.out, "--to", tmp_path / "x.html")[0] == 0
    assert "Exposure 20220101/00000101" in (tmp_path / "x.html").read_text()
    status, text = quicklook("bundle", "102", "--camera", "r0", "--to", tmp_path / "y.zip", "--out", with_run.out)
    assert status == 0
    assert zipfile.is_zipfile(tmp_path / "y.zip")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report",), "name one thing"),
        (("report", "102", "--night", "20220101"), "name one thing"),
        (("report", "102", "--format", "docx"), "there is no format 'docx'"),
        (("report", "102", "--to", "report.docx"), "no format has this ending"),
        (("report", "--night", "2022"), "write a night as YYYYMMDD"),
        (("report", "--night", "20230101"), "20220101"),
        (("report", "--test", "../../etc"), "there is no test"),
        (("report", "999"), "20220101/00000102"),
        (("report", "../102"), "NIGHT/EXPID"),
        (("report", "--index", "--tag", "nothing"), "no verdict under tag"),
        (("bundle", "102", "--camera", "b7"), "it has: r0"),
        (("bundle", "x"), "NIGHT/EXPID"),
    ],
)
def test_what_cannot_be_reported_is_said(results: Results, words: tuple[str, ...], said: str) -> None:
    status, text = quicklook(*words, "--out", results.out)
    assert status == 2
    assert said in text
