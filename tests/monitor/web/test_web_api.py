"""The API: what it answers, how it refuses, and that its description is true."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest
from web_host import Served, Writer, serving, web_site

from monitor.web.app import all_routes
from monitor.web.shared import Shared
from quicklook.core.events import CommandGiven
from quicklook.core.keys import Unit
from quicklook.core.status import Status


def test_state_and_night_say_what_the_journal_says(page: Served) -> None:
    state = page.get("/state").json
    assert state["state"]["exposures"] == 3
    assert state["state"]["statuses"] == {"NORMAL": 2, "ALARM": 1}
    assert state["lives"] is False, "nobody holds the lock of the folder"
    night = page.get("/nights/20220101").json
    assert [u["expid"] for u in night["units"]] == [103, 102, 101]
    assert night["units"][1]["parts"] == {"b0": "ALARM", "r0": "ALARM"}
    assert night["units"][1]["status"] == "ALARM"
    assert night["units"][1]["seconds_to_verdict"] == 0.5
    assert page.get("/nights").json["nights"] == [{"night": "20220101", "exposures": 3, "statuses": {"NORMAL": 2, "ALARM": 1}}]


def test_an_exposure_and_its_metrics(page: Served) -> None:
    said = page.get("/exposures/20220101/102").json
    assert said["verdict"]["status"] == "ALARM"
    assert said["parts"]["r0"]["measured"] == 1
    assert (said["previous"], said["next"]) == ("20220101/00000101", "20220101/00000103")
    assert page.get("/exposures/latest").json["expid"] == 103
    qas = page.get("/exposures/20220101/102/qas/r0").json["qas"]
    assert qas[0]["metrics"][0]["values"] == [9.9]
    assert qas[0]["metrics"][0]["limits"][0]["action"] == "look"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/exposures/20220101/999", 404),
        ("/exposures/20220101/abc", 400),
        ("/exposures/-1/5", 400),
        ("/exposures/20220101/102?tag=../../etc", 400),
        ("/exposures/20220101/102?revision=7", 404),
        ("/exposures/20220101/102?unknown=1", 400),
        ("/exposures/20220101/102?night=20220102", 400),
        ("/exposures/20220101/99999999999999999999999999999", 400),
        ("/events?limit=100000", 400),
        ("/events?after=-1", 400),
        ("/events?after=1&after=2", 400),
        ("/events?kinds=" + ",".join(["a"] * 200), 400),
        ("/state?units=9999", 400),
        ("/housekeeping/series?channel=x&start=nan", 400),
        ("/housekeeping/series?channel=x", 404),
        ("/nothing", 404),
        ("/nights/%00", 400),
        ("/jobs?state=%27%3B%20drop%20table%20events", 400),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(page: Served, path: str, status: int) -> None:
    answer = page.get(path)
    assert answer.status == status, answer.body
    assert set(answer.json) == {"error", "message", "what_next"}
    assert b"Traceback" not in answer.body


def test_the_description_is_valid_and_complete(page: Served) -> None:
    said = page.get("/openapi.json").json
    assert said["openapi"].startswith("3.1")
    assert {f"/api/v1{r.path}" for r in all_routes()} <= set(said["paths"])
    names = set(said["components"]["schemas"])
    for path, item in said["paths"].items():
        for method, operation in item.items():
            assert operation["operationId"], (path, method)
            in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert in_path == {piece.strip("{}") for piece in path.split("/") if piece.startswith("{")}, path
    for schema in said["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    refs = {r.rpartition("/")[2] for r in _refs(said)}
    assert refs <= names, refs - names
    operations = [o["operationId"] for item in said["paths"].values() for o in item.values()]
    assert len(operations) == len(set(operations))


def _refs(node: object) -> list[str]:
    if isinstance(node, dict):
        return [v for k, v in node.items() if k == "$ref"] + [r for v in node.values() for r in _refs(v)]
    return [r for v in node for r in _refs(v)] if isinstance(node, list) else []


@pytest.mark.parametrize("path", ["/about", "/state", "/nights", "/nights/20220101", "/exposures/20220101/102", "/exposures/20220101/102/qas/r0", "/events?limit=5"])
def test_answers_are_as_described(page: Served, path: str) -> None:
    said = page.get("/openapi.json").json
    plain = path.partition("?")[0].replace("20220101/102", "{night}/{expid}").replace("/20220101", "/{night}").replace("/qas/r0", "/qas/{part}")
    schema = said["paths"][f"/api/v1{plain}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(page.get(path).json, {**schema, "components": said["components"]})


def test_every_get_route_answers_without_a_fault(page: Served) -> None:
    """Each of them, with a plain question: an answer or a refusal, never a fault of the program."""
    fill = {"night": "20220101", "expid": "102", "part": "r0", "name": "x", "key": "x"}
    for route in all_routes():
        if route.method == "GET":
            path = route.path
            for name in route.ask.model_fields:
                path = path.replace("{" + name + "}", fill.get(name, "1"))
            answer = page.get(path)
            assert answer.status != 500, (path, answer.body)


def test_all_is_rebuilt_from_the_journal(night: Writer, page: Served) -> None:
    """A server that starts now says the same as one that has followed all the time."""
    with serving(night.site) as anew:
        for path in ("/nights/20220101", "/exposures/20220101/102", "/alarms", "/nights"):
            assert anew.get(path).json | {"seq": 0} == page.get(path).json | {"seq": 0}


def test_a_page_before_any_daemon(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "out").mkdir()
    site = web_site(tmp_path)
    with serving(site) as served:
        answer = served.get("/state")
        assert (answer.status, answer.json["error"]) == (404, "NotReadyYet")
        assert served.ask("GET", "/").status == 200
        writer = Writer(site)  # a daemon begins
        writer.beat()
        writer.expose(7)
        assert served.get("/state").json["state"]["exposures"] == 1


def test_a_journal_that_is_replaced(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "out").mkdir()
    site = web_site(tmp_path)
    first = Writer(site)
    first.expose(1)
    with serving(site) as served:
        old = served.get("/state").json["state"]["epoch"]
        first.journal.close()
        for path in site.out.glob("journal.sqlite*"):
            path.unlink()
        Writer(site).expose(2)
        now = served.get("/state").json["state"]
        assert now["epoch"] != old
        assert [u["unit"] for u in now["units"]] == [str(Unit(20220101, 2))]


def test_a_revision_stands_beside_the_one_before(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from dataclasses import replace

    from quicklook.core.events import UnitDone
    from quicklook.service.journal import jobs

    (tmp_path / "out").mkdir()
    writer = Writer(web_site(tmp_path))
    unit = writer.expose(5, Status.ALARM)
    with writer.journal.transaction() as connection:
        old = jobs.latest_unit(connection, unit, "live")
        assert old is not None
        new = replace(old, revision=1)
        jobs.add_unit(connection, new, ())
        jobs.carry_over(connection, old, new, ())
        jobs.close_unit(connection, new, 1)
    done = UnitDone(night=unit.night, expid=unit.expid, tag="live", revision=1, status=Status.NORMAL, reasons=["fine after all"], parts={"b0": Status.NORMAL})
    writer.say(done, unit, revision=1)
    with serving(writer.site) as served:
        assert served.get("/exposures/20220101/5").json["verdict"]["status"] == "NORMAL"
        assert served.get("/exposures/20220101/5").json["revisions"] == [0, 1]
        assert served.get("/exposures/20220101/5?revision=0").json["verdict"]["status"] == "ALARM"
        assert served.get("/nights/20220101").json["units"][0]["status"] == "NORMAL"


def test_the_last_event_is_as_old_as_it_is(page: Served) -> None:
    """And not as old as the answer: a daemon that is silent must not look as if it had just spoken."""
    said = page.get("/state?units=0").json
    last = page.get(f"/events?after={said['state']['seq'] - 1}").json["events"][-1]
    assert said["last_event"] == last["time"] < said["server_time"]


def test_events_in_pages(page: Served) -> None:
    seqs: list[int] = []
    while True:
        got = page.get(f"/events?after={seqs[-1] if seqs else 0}&limit=7").json
        if not got["events"]:
            break
        seqs += [e["seq"] for e in got["events"]]
    assert seqs == list(range(1, got["last"] + 1))
    assert {e["kind"] for e in page.get("/events?kinds=unit_verdict,decision").json["events"]} == {"unit_verdict", "decision"}


def test_what_people_did_is_in_the_history(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "out").mkdir()
    writer = Writer(web_site(tmp_path))
    writer.say(CommandGiven(name="mark", args={"alarm": "x"}, by="me", via="token", done=False, said="no"))
    with serving(writer.site) as served:
        assert served.get("/alarms").json == {"now": [], "mutes": [], "past": [], "past_total": 0}


def test_pages_that_ask_the_same_at_once_share_an_answer(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "out").mkdir()
    writer = Writer(web_site(tmp_path))
    writer.expose(1)
    with serving(writer.site) as served:
        asked: list[int] = []
        come = threading.Semaphore(0)
        real, get = type(served.host).nights, Shared.get

        def slow(host, tag: str = ""):  # type: ignore[no-untyped-def]
            asked.append(1)
            for _ in range(10 if len(asked) == 1 else 0):
                assert come.acquire(timeout=60), "all ten have asked"
            return real(host, tag)

        def counted(shared, *given):  # type: ignore[no-untyped-def]
            come.release()
            return get(shared, *given)

        monkeypatch.setattr("monitor.web.shared._OLDEST_S", 600.0)
        monkeypatch.setattr(Shared, "get", counted)
        monkeypatch.setattr(type(served.host), "nights", slow)
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda _: served.get("/nights").body, range(10)))
        assert len(set(answers)) == 1
        assert len(asked) == 1, "ten pages, one answer"
        writer.expose(2)
        assert served.get("/nights").json["nights"][0]["exposures"] == 2, "what has happened since is not hidden"
