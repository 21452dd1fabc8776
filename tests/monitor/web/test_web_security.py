"""Who may ask for what, and that nobody who may not, or who is slow, gets anything or costs anything."""

from __future__ import annotations

import logging
import re
import socket
import sys
import time
from pathlib import Path

import pytest
from web_host import Served, Writer, serving, web_site

from monitor.web.patience import PatientProtocol
from quicklook.core.hosting import Role

ACK = {"args": {"alarm": "x"}, "by": "me"}


def test_every_answer_tells_browsers_to_keep_to_this_server(page: Served) -> None:
    for answer in (page.ask("GET", "/"), page.get("/state"), page.get("/nothing"), page.ask("GET", "/static/app.js"), page.ask("PUT", "/"), page.ask("GET", "/x")):
        csp = answer.headers["content-security-policy"]
        assert "default-src 'none'" in csp
        assert "script-src 'self'" in csp
        assert "unsafe-eval" not in csp
        assert "script-src 'self' 'unsafe-inline'" not in csp
        assert "frame-ancestors 'none'" in csp
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers


def test_pages_have_no_script_of_their_own(page: Served) -> None:
    for path in ("/", "/night", "/exposure/20220101/102", "/exposure/latest", "/trends", "/housekeeping", "/alarms", "/system"):
        text = page.ask("GET", path).body.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path
        assert not re.search(r"\son\w+=", text), path
        assert "http://" not in text.replace('xmlns="http://', "")
        assert "https://" not in text


def test_scripts_make_no_html_of_data() -> None:
    """The pages put what comes from headers and people into the document as text alone."""
    folder = Path(__file__).resolve().parents[3] / "monitor" / "web" / "static"
    for path in folder.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "setAttribute(\"on"):
            assert danger not in text, f"{path.name}: {danger}"


def test_hostile_texts_come_back_as_data(page: Served) -> None:
    answer = page.get("/nights/20220101")
    assert answer.headers["content-type"].startswith("application/json")
    unit = next(u for u in answer.json["units"] if u["expid"] == 102)
    assert unit["program"] == "<img src=x onerror=alert(2)>"
    assert b"<script>" not in page.ask("GET", "/exposure/20220101/102").body


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/%2e%2e/guard.py", "/static//etc/passwd", "/static/....//app.py",
        "/..%2f..%2fetc%2fpasswd", "/static/%00", "/api/v1/exposures/20220101/102/plots/r0/..%2f..%2f..%2fcommand.token",
        "/api/v1/exposures/20220101/102/plots/..%2f/command.token", "/api/v1/exposures/20220101/102/plots/r0/command.token",
        "/api/v1/../../etc/passwd",
    ],
)  # fmt: skip
def test_no_way_out_of_the_folders(page: Served, path: str) -> None:
    answer = page.ask("GET", path)
    assert answer.status in (400, 404), answer.status
    assert page.token.encode() not in answer.body
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


def test_files_that_the_journal_names_outside_are_not_given(tmp_path: Path) -> None:
    from quicklook.core.events import PlotDrawn

    (tmp_path / "out").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    writer = Writer(web_site(tmp_path))
    unit = writer.expose(1)
    for name, path in (("a", "../secret.png"), ("b", str(tmp_path / "secret.png")), ("c", "link.png"), ("d", "folder/secret.png"), ("e", "x\0y")):
        writer.say(PlotDrawn(name=name, path=path, sha256="", size=6), unit, "r0")
    (writer.site.out / "link.png").symlink_to(tmp_path / "secret.png")
    (writer.site.out / "folder").symlink_to(tmp_path)
    with serving(writer.site) as served:
        for name in "abcde":
            assert served.get(f"/exposures/20220101/1/plots/r0/{name}").status == 404
        assert served.get("/exposures/20220101/1").json["plots"] == []


def test_actions_need_the_token(page: Served) -> None:
    assert page.post("/actions/acknowledge", ACK, token="").status == 401
    assert page.post("/actions/acknowledge", ACK, token="wrong").status == 401
    assert page.post("/actions/acknowledge", ACK, token=page.token[:-1]).status == 401
    assert page.ask("POST", f"/api/v1/actions/acknowledge?token={page.token}", ACK, {"Content-Type": "application/json"}).status == 401
    right = page.post("/actions/acknowledge", ACK)
    assert (right.status, right.json["error"]) == (503, "Transient"), "no daemon works here, and that is said"
    assert page.get("/me").json == {"role": "read"}
    assert page.get("/me", Authorization=f"Bearer {page.token}").json == {"role": "act"}
    assert page.get("/me", Authorization="Bearer no").json == {"role": "nobody"}
    assert page.get("/state", Authorization="Bearer no").status == 401, "who sends a token that is wrong is told"


def test_what_ends_a_daemon_is_not_given_here(page: Served) -> None:
    for command in ("stop", "reload", "__class__", "status"):
        assert page.post(f"/actions/{command}", ACK).status == 400


def test_pages_of_others_can_do_nothing(page: Served) -> None:
    evil = f"http://evil.example:{page.port}"
    assert page.post("/actions/acknowledge", ACK, Origin=evil).status == 403
    assert page.post("/actions/acknowledge", ACK, Origin="null").status == 403
    assert page.post("/actions/acknowledge", ACK, Origin=f"http://127.0.0.1:{page.port + 1}").status == 403
    assert page.post("/actions/acknowledge", ACK, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert page.post("/actions/acknowledge", ACK, **{"Content-Type": "text/plain"}).status == 415
    assert page.post("/actions/acknowledge", ACK, **{"Content-Type": "application/x-www-form-urlencoded"}).status == 415
    assert page.get("/state", **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert page.get("/state", **{"Sec-Fetch-Site": "same-origin"}).status == 200
    assert page.post("/actions/acknowledge", ACK, Origin=f"http://127.0.0.1:{page.port}").status == 503


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "user@127.0.0.1", "", "127.0.0.1/x"])
def test_a_name_that_points_here_is_not_answered(page: Served, name: str) -> None:
    """A page of somebody else may have its own name point to this machine (DNS rebinding)."""
    assert page.ask("GET", "/api/v1/state", name=name).status in (400, 421)
    assert page.ask("GET", "/", name=name).status in (400, 421)


def test_off_the_loopback_reading_needs_the_token_too(night: Writer) -> None:
    with serving(night.site, address="0.0.0.0") as served:
        assert served.get("/state").status == 401
        assert served.get("/stream").status == 401
        assert served.get("/openapi.json").status == 401
        assert served.ask("GET", "/").status == 200, "a page has no data in it; it asks for the token"
        assert b"20220101" not in served.ask("GET", "/night").body
        assert served.get("/state", Authorization=f"Bearer {served.token}").status == 200


def test_a_name_of_a_proxy_needs_the_token_too(night: Writer) -> None:
    with serving(night.site, names=("spectro.example",)) as served:
        assert served.ask("GET", "/api/v1/state", name="spectro.example").status == 401
        assert served.ask("GET", "/api/v1/state", name="spectro.example", headers={"Authorization": f"Bearer {served.token}"}).status == 200
        assert served.get("/state").status == 200


def test_a_token_for_reading_does_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    wall = tmp_path / "wall.token"
    wall.write_text("w" * 32)
    wall.chmod(0o600)
    writer = Writer(web_site(tmp_path, web={"read_token": str(wall)}))
    writer.beat()
    with serving(writer.site, address="0.0.0.0") as served:
        assert served.get("/state", Authorization=f"Bearer {'w' * 32}").status == 200
        assert served.post("/actions/acknowledge", ACK, token="w" * 32).status == 403
        assert served.host.role("w" * 32) is Role.READ
        wall.chmod(0o644)
        assert served.host.role("w" * 32) is Role.NOBODY, "a token that all can read is none"


def test_no_secret_in_pages_answers_or_logs(page: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        page.get("/state", Authorization=f"Bearer {page.token}")
        page.get("/state", Authorization="Bearer hush-hush-hush-hush")
        texts = [page.get(p).body for p in ("/about", "/system", "/log", "/openapi.json", "/events?limit=1000")] + [page.ask("GET", "/").body]
    assert all(page.token.encode() not in t for t in texts)
    assert page.token not in caplog.text
    assert "hush-hush" not in caplog.text


def test_what_is_too_large_is_refused_early(page: Served) -> None:
    assert page.post("/actions/mute", {"args": {"reason": "x" * 70_000}, "by": "me"}).status == 413
    assert page.post("/actions/mute", b"{}", **{"Content-Length": "9" * 12}).status == 413
    assert page.ask("GET", "/api/v1/state?units=" + "1" * 5000).status == 414
    assert page.ask("GET", "/api/v1/state", headers={"X-Long": "x" * 40_000}).status in (400, 431)
    assert page.post("/actions/mute", b"[" * 60_000).status == 422
    assert page.post("/actions/mute", b"\xff\xfe{}").status == 422
    assert page.post("/actions/mute", b"[]").status == 422
    assert page.post("/actions/mute", {"args": {str(i): "x" for i in range(30)}, "by": "me"}).status == 400
    assert page.post("/actions/mute", {"args": {}, "by": " "}).status == 400
    assert page.ask("DELETE", "/api/v1/state").status == 405


def test_messages_of_the_hostile_corpus_are_refused(page: Served, repo_root: Path) -> None:
    sys.path.insert(0, str(repo_root / "tests" / "hostile"))
    try:
        from corpus import hostile_frames, hostile_yaml
    finally:
        sys.path.pop(0)
    bodies = [frames[-1] for frames in hostile_frames().values() if frames] + [text.content for text in hostile_yaml()]
    for body in bodies:
        given = body if isinstance(body, bytes) else str(body).encode(errors="replace")
        answer = page.post("/actions/mute", given[:60_000])
        assert answer.status in (400, 413, 422, 503), (answer.status, given[:80])
        assert b"Traceback" not in answer.body
    assert page.get("/me").status == 200


def test_a_body_without_a_length_is_not_read_for_ever(page: Served) -> None:
    with page.raw() as connection:
        head = f"POST /api/v1/actions/mute HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nContent-Type: application/json\r\nAuthorization: Bearer {page.token}\r\n"
        connection.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        for _ in range(3):
            connection.sendall(chunk)
        assert b" 422 " in connection.recv(4096).split(b"\r\n")[0]


def test_half_a_request_is_cut_off(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.web.patience.REQUEST_S", 0.5)
    monkeypatch.setattr("monitor.web.patience._LOOK_S", 0.1)
    for start in (b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "):
        with page.raw() as connection:
            connection.sendall(start)
            assert _ends(connection), start
    assert page.get("/me").status == 200


def test_who_does_not_read_is_cut_off(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.web.patience.READING_S", 0.5)
    monkeypatch.setattr("monitor.web.patience._LOOK_S", 0.1)
    ended, lost = PatientProtocol.connection_lost, set[object]()

    def noted(protocol: PatientProtocol, error: Exception | None) -> None:
        lost.add(protocol.client)
        ended(protocol, error)

    monkeypatch.setattr(PatientProtocol, "connection_lost", noted)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", page.port))
        connection.sendall(f"GET /static/plotly.min.js HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n\r\n".encode())
        end = time.monotonic() + 60
        while connection.getsockname() not in lost and time.monotonic() < end:
            time.sleep(0.05)
        assert connection.getsockname() in lost, "it was cut off"
        connection.settimeout(10)
        got = 0
        with pytest.raises((ConnectionResetError, TimeoutError, _Short)):
            while True:
                piece = connection.recv(65536)
                got += len(piece)
                if not piece:
                    raise _Short
        assert got < 4_000_000, "the rest of the file was never sent"
    assert page.get("/me").status == 200


class _Short(Exception):
    """The connection has ended before the file."""


def _ends(connection: socket.socket) -> bool:
    try:
        while True:
            if not connection.recv(4096):
                return True
    except ConnectionResetError:
        return True
