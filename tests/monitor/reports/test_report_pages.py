"""Documents on paper and in a browser: nothing cut, nothing taken for markup, broken pictures told, memory bounded."""

from __future__ import annotations

import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monitor.reports import pages
from monitor.reports.reporter import DocumentReporter
from monitor.reports.text import BREAK, breakable, breakable_lines, clipped, far, printable
from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.core.reporting import (
    Absent,
    Column,
    Fact,
    Facts,
    Figure,
    Figures,
    Grid,
    IndexPage,
    IndexRow,
    Listing,
    Prose,
    ReportDocument,
    Sentence,
    Verbatim,
    reporter,
)
from quicklook.core.status import Status

NASTY = [
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    '#panic("x") $ sum_(i=0)^n * _a_ @ref <label> \\ `raw` = h // c /* d */ #let x = 1 [',
    "{{ 7 * 7 }}{% raw %}",
    "A" * 3000,
    "/very/long/path/" + "x" * 200 + "/" + "y_" * 300,
    "\u202eabc\u0000\u0007\x1b[31mred\u2028new",
    "übergroß Ωμέγα Привет 你好 🔭 a\u0301",
    "",
    "   ",
]
MARGIN_MM = 12.0


def png(path: Path, width: int = 900, height: int = 500) -> Path:
    Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(path)
    return path


def document(*blocks: object, **changed: object) -> ReportDocument:
    base = {"kind": "exposure", "name": "r", "title": "Exposure 1", "status": Status.ALARM, "headline": "Stop", "made": "now", "about": "a"}
    return ReportDocument.model_validate({**base, "sections": [{"title": "S", "blocks": list(blocks)}], **changed})


def figure(path: Path, width: int = 900, height: int = 500) -> Figure:
    return Figure(path=str(path), caption="c", width=width, height=height, status=Status.WARNING)


def hostile(tmp_path: Path) -> ReportDocument:
    columns = [Column(title=NASTY[0]), Column(title=NASTY[3], kind="number"), Column(title="s", kind="status"), Column(title=NASTY[4], share=3)]
    rows = [[text, text, status, text] for text in NASTY for status in ("ALARM", "WARNING", "UNKNOWN", "NORMAL", "", "no such status")]
    picture = figure(png(tmp_path / "a'\"<b> #x.png"))
    blocks = [
        Prose(paragraphs=NASTY), *(Absent(text=t) for t in NASTY), Listing(items=[Sentence(text=t, status=Status.UNKNOWN) for t in NASTY]),
        Facts(rows=[Fact(name=t, value=t) for t in NASTY]), Grid(title=NASTY[0], columns=columns, rows=rows, note=NASTY[1]),
        Figures(items=[picture.model_copy(update={"caption": t}) for t in NASTY[:3]]), Verbatim(text="\n".join(NASTY)),
    ]  # fmt: skip
    texts = {"title": NASTY[1], "subtitle": NASTY[3], "headline": NASTY[0], "action": NASTY[4], "about": NASTY[5]}
    return document(*blocks, **texts, reasons=[Sentence(text=t) for t in NASTY], facts=[Fact(name=t, value=t) for t in NASTY])


def margins_are_white(page: bytes, ppi: float) -> bool:
    """Whether nothing stands in the outermost strip left and right: what is too wide would, or be cut there."""
    pixels = np.asarray(Image.open(io.BytesIO(page)).convert("L"))
    strip = int(MARGIN_MM / 25.4 * ppi)
    return bool((pixels[:, :strip] > 250).all() and (pixels[:, -strip:] > 250).all())


def test_hostile_texts_are_data_and_stay_within_the_page(tmp_path: Path) -> None:
    found = DocumentReporter().pages(hostile(tmp_path), ppi=40)
    assert len(found) > 5
    assert all(margins_are_white(page, 40) for page in found)


def test_the_margin_test_can_fail() -> None:
    wide = Image.new("L", (330, 467), 255)
    wide.putpixel((5, 100), 0)
    out = io.BytesIO()
    wide.save(out, "PNG")
    assert not margins_are_white(out.getvalue(), 40)


def test_a_pdf_of_hostile_texts_is_whole(tmp_path: Path) -> None:
    data = DocumentReporter().pdf(hostile(tmp_path))
    assert data[:5] == b"%PDF-"
    assert b"%%EOF" in data[-32:]


def test_hundreds_of_flags_and_huge_tables_go_on_over_pages() -> None:
    columns = [Column(title="metric", share=3), Column(title="value", kind="number"), Column(title="unit"), Column(title="", kind="status")]
    rows = [[f"metric_{i}", f"{i}", "electron", "NORMAL"] for i in range(3000)]
    reasons = [Sentence(text=f"ALARM: flag {i} of a camera is raised for a reason", status=Status.ALARM) for i in range(300)]
    found = DocumentReporter().pages(document(Grid(columns=columns, rows=rows), reasons=reasons), ppi=30)
    assert 40 < len(found) < 100
    assert all(margins_are_white(page, 30) for page in found)


@pytest.mark.parametrize(("width", "height"), [(864, 520), (1728, 600), (600, 3000), (30_000, 60), (60, 30_000), (1, 1)])
def test_a_picture_of_any_form_fits_on_a_page(tmp_path: Path, width: int, height: int) -> None:
    path = png(tmp_path / "p.png", min(width, 2000), min(height, 2000))
    found = DocumentReporter().pages(document(Figures(items=[figure(path, width, height)])), ppi=30)
    assert len(found) <= 3
    assert all(margins_are_white(page, 30) for page in found)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"no picture", None])
def test_a_picture_that_is_broken_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadData, match="cannot be set"):
        DocumentReporter().pdf(document(Figures(items=[figure(path)])))
    assert "data:image/png" in (page := DocumentReporter().html(document(Figures(items=[figure(path)])))) or "cannot be read" in page


def test_statuses_are_told_without_colour() -> None:
    """In grey, too: the page with an ALARM and that with a NORMAL differ, and so do their shapes."""
    found = [DocumentReporter().pages(document(status=s, headline="x"), ppi=40)[0] for s in Status]
    grey = [np.asarray(Image.open(io.BytesIO(p)).convert("1")) for p in found]
    assert all((a != b).sum() > 30 for i, a in enumerate(grey) for b in grey[i + 1 :])


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_html_of_hostile_texts_runs_and_loads_nothing(tmp_path: Path) -> None:
    reader = _Reader()
    page = DocumentReporter().html(hostile(tmp_path), links={NASTY[0]: "index.html"})
    reader.feed(page)
    assert {t for t, _ in reader.tags} <= {
        "html", "head", "meta", "title", "style", "body", "nav", "a", "header", "div", "span", "h1", "h2", "h3", "main", "p", "ul", "li", "b", "dl",
        "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption", "pre", "footer",
    }  # fmt: skip
    assert not [a for _, attributes in reader.tags for a in attributes if a.startswith("on")]
    addresses = [v for _, a in reader.tags for k, v in a.items() if k in ("src", "href") and v]
    assert addresses
    assert all(v.startswith("data:image/png;base64,") or v == "index.html" for v in addresses)
    assert "default-src 'none'" in page
    assert "49" not in re.sub(r"data:[^\"]*", "", page.split("<main>")[1].split("7 * 7")[0])
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_linked_pictures_are_relative_and_quoted(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    path = png(tmp_path / "plots/a #1.png")
    page = DocumentReporter().html(document(Figures(items=[figure(path)])), base=tmp_path)
    assert 'src="plots/a%20%231.png"' in page


def test_an_index_escapes_its_cells() -> None:
    rows = [IndexRow(status=Status.UNKNOWN, cells=[text, text], links=[(text, "a/index.html")]) for text in NASTY]
    reader = _Reader()
    reader.feed(DocumentReporter().index(IndexPage(title=NASTY[0], up=[(NASTY[0], "../index.html")], columns=NASTY[:2], rows=rows, made="now")))
    assert "script" not in {t for t, _ in reader.tags}
    assert {a["href"] for t, a in reader.tags if t == "a"} == {"a/index.html", "../index.html"}
    assert "Nothing is here yet" in DocumentReporter().index(IndexPage(title="t", columns=[], rows=[], made="now"))


def test_a_process_that_sets_and_is_killed_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/sh")
    monkeypatch.setattr(pages, "_SETTER", ("-c", "exit 1"))
    with pytest.raises(BadData):
        DocumentReporter().pdf(document())
    monkeypatch.setattr(pages, "_SETTER", ("-c", "cat > /dev/null; kill -9 $$"))
    with pytest.raises(Transient, match="signal 9"):
        DocumentReporter().pdf(document())


def test_the_program_is_found_and_a_template_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(reporter(), DocumentReporter)
    monkeypatch.setattr(pages, "config_folders", lambda: ())
    pages.template.cache_clear()
    with pytest.raises(BadConfig, match="not installed"):
        DocumentReporter().pdf(document())
    pages.template.cache_clear()


def test_long_words_can_be_broken_and_short_ones_are_left_alone() -> None:
    assert breakable("read_noise of amp B") == "read_noise of amp B"
    assert breakable("amp_border_ratio_excess").replace(BREAK, "") == "amp_border_ratio_excess"
    assert max(len(run) for run in breakable("x" * 500).split(BREAK)) <= 8
    assert clipped("abcdef", 4) == "abcd … (2 more letters)"
    assert BREAK not in breakable_lines("quicklook aim --night 20220101")
    assert printable("a\nb\tc", lines=True) == "a\nb\tc"
    assert printable("a\nb") == "a b"


def test_letters_of_the_machine_are_used_where_ours_end_and_marks_do_not_pile_up() -> None:
    assert [far(text) for text in ("M 31", "Ωμέγα", "Привет", "übergroß → Å ★", "星系", "مرحبا", "🔭")] == [False] * 4 + [True] * 3
    assert printable("a" + "\u0301" * 400 + "b") == "a" + "\u0301" * 3 + "b"


def test_a_picture_and_what_stands_below_it_do_not_overlap(tmp_path: Path) -> None:
    """The rows of ink below the picture: those of its caption begin with a white one."""
    (page,) = DocumentReporter().pages(document(Figures(items=[figure(png(tmp_path / "a.png"))])), ppi=150)
    pixels = np.asarray(Image.open(io.BytesIO(page)).convert("L"))
    within = pixels[:, pixels.shape[1] // 2]
    last = int(np.flatnonzero(within == 200)[-1])
    left = pixels[last + 3 : last + 60, : pixels.shape[1] // 4].min(axis=1)
    first_ink = int(np.flatnonzero(left < 128)[0])
    assert first_ink >= 3
    assert (pixels[last + 3 + first_ink : last + 60, pixels.shape[1] // 2] > 250).all(), "the frame of the picture crosses its caption"


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="cells"):
        Grid(columns=[Column(title="a")], rows=[["1", "2"]])
