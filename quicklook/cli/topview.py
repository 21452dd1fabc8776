"""How `quicklook top` looks: lines of text that fit a terminal, the most important first. Every colour has its word or mark beside it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group
from rich.text import Text

from quicklook.cli.card import STYLE as DECISION_STYLE
from quicklook.cli.card import WORDS
from quicklook.cli.sessionview import session_line, span
from quicklook.cli.topmodel import SILENT_S, Now
from quicklook.cli.view import MARK, STYLE
from quicklook.core.alarms import AlarmNow
from quicklook.core.decision import Decision
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.core.wire import PartNow, UnitNow

_SHORT = {Status.NORMAL: "NORM", Status.WARNING: "WARN", Status.ALARM: "ALRM", Status.UNKNOWN: "UNKN"}
_JOB = {"open": ("· wait", "dim"), "running": ("> runs", "cyan"), "failed": ("✗ FAIL", "bold red"), "expected": ("… not there", "dim")}
_SEVERITY = {Severity.CRITICAL: "bold red", Severity.ALARM: "bold red", Severity.WARNING: "yellow", Severity.NOTICE: "", Severity.NONE: "dim"}
_UNKNOWN = ("?", "bold magenta")
_HK = {HkState.VIOLATING: ("■", "bold red"), HkState.STALE: _UNKNOWN, HkState.UNKNOWN: _UNKNOWN, HkState.PENDING: ("▲", "yellow")}
_TILE = 15
_ROWS = 6


def plain(text: str) -> str:
    """Text that does nothing to a terminal: what cannot be seen is a mark in its place."""
    return "".join(c if c.isprintable() else "�" for c in text)


def view(now: Now, *, width: int, height: int, now_ns: int, clock_s: float, trouble: str = "") -> Group:
    """All of it, in so many columns and lines, by the clock on the wall and one that nobody sets. `trouble`: why nothing newer can be shown."""
    age = now.age_s(clock_s)
    stale = age is None or age > SILENT_S
    top = [_head(now, now_ns, age, stale=stale), *([Text(plain(trouble), style="bold magenta")] if trouble else [])]
    exposure = _exposure(now, now_ns, width)
    tiles = _tiles(now, width)
    work = _work(now)
    alarms, housekeeping, latest = _alarms(now, now_ns), _housekeeping(now), _latest(now)
    # what does not fit is cut where it hurts least, and it is said how much
    room = height - len(top) - len(exposure) - len(work)
    tiles = _cut(tiles, max(2, room - min(len(alarms), 3) - min(len(housekeeping), 3)), "rows of cameras")
    room -= len(tiles)
    alarms = _cut(alarms, max(1, room - min(len(housekeeping), 3)))
    housekeeping = _cut(housekeeping, max(1, room - len(alarms)))
    latest = latest[: max(0, room - len(alarms) - len(housekeeping))]
    lines = [*top, *exposure, *tiles, *work, *alarms, *housekeeping, *(latest if len(latest) > 1 else [])]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
        if stale and line is not lines[0]:
            line.stylize("dim")
    return Group(*lines[:height])


def _cut(lines: list[Text], most: int, what: str = "") -> list[Text]:
    """So many lines at most; the last one then says how many are not there."""
    if len(lines) <= most:
        return lines
    if not what:
        return [*lines[: most - 1], lines[most - 1].append(f"  ... {len(lines) - most} more", style="dim")]
    return [*lines[: most - 1], Text(f"  and {len(lines) - most + 1} more {what}", style="dim")]


def _head(now: Now, now_ns: int, age: float | None, *, stale: bool) -> Text:
    tag = plain(now.state.tag) if now.state is not None else ""
    night = f"  night {plain(now.state.night)}" if now.state is not None and now.state.night else ""
    clock = time.strftime("%H:%M:%S UTC", time.gmtime(now_ns / 1e9))
    head = Text("quicklook  ", style="bold")
    if stale:
        words = "never heard" if age is None else f"last sign of life {span(age)} ago"
        head.append(f" ? STALE: {words} ", style="bold white on magenta")
    else:
        head.append(f"● ALIVE, {age or 0.0:.0f} s ago", style="not bold green")
    return head.append(f"  {clock}  tag {tag}{night}", style="not bold")


def _exposure(now: Now, now_ns: int, width: int) -> list[Text]:
    unit = now.unit
    if unit is None:
        return [Text("No exposure has arrived.")]
    said = now.said(unit)
    which = f" ({now.chosen + 1}. latest)" if now.chosen else ""
    line = Text.assemble((f"{plain(unit.unit)}{which}", "bold"), f" {plain(unit.flavor)}" + (f" rev {unit.revision}" if unit.revision else "") + "  ")
    line.append_text(_status(unit.status))
    if unit.decision in set(Decision):
        decision = Decision(unit.decision)
        line.append(f"  {WORDS[decision]}", style=DECISION_STYLE[decision])
    if said.whole_s is not None:
        first = f" (first camera {said.first_s:.1f} s)" if said.first_s is not None else ""
        line.append(f"  in {said.whole_s:.1f} s{first}")
    line.append(f"  seen {_ago(unit.seen, now_ns)}", style="dim")
    why = [said.card.why] if said.card is not None else []
    reasons = [plain(text) for text in dict.fromkeys([*why, *unit.reasons])]
    lines = [line]
    lines += [Text(f"  {text}") for text in reasons[:2]]
    if len(reasons) > 2:
        lines[-1].truncate(width - 12, overflow="ellipsis")
        lines[-1].append(f" +{len(reasons) - 2} more", style="dim")
    if said.card is not None and said.card.decision is not Decision.GO_ON:
        lines.append(Text(f"  to do: {plain(said.card.action)}"))
    return lines


def _status(status: Status | None) -> Text:
    return Text(f"{MARK[status]} {status}", style=STYLE[status]) if status else Text("… no verdict yet", style="cyan")


def _ago(then_ns: int, now_ns: int) -> str:
    seconds = max(0.0, (now_ns - then_ns) / 1e9)
    return f"{seconds / 86400:.0f} d ago" if seconds > 2 * 86400 else f"{span(seconds)} ago"


def _camera_order(name: str) -> tuple[int, str]:
    """Cameras of one spectrograph side by side."""
    digits = re.search(r"\d{1,9}", name)
    return (int(digits[0]) if digits else -1, name)


def _tiles(now: Now, width: int) -> list[Text]:
    """Cameras of the exposure, each with its status, and QAs measured of those expected."""
    unit = now.unit
    if unit is None:
        return []
    names = sorted({*unit.parts, *unit.expected}, key=_camera_order)
    measured = now.said(unit).measured
    tiles = [_tile(name, unit, measured.get(name)) for name in names]
    wide = max([_TILE, *(t.cell_len + 1 for t in tiles)])
    wide = min(wide, max(_TILE, width // 2))
    across = max(1, width // wide)
    if len(tiles) <= _ROWS * (across - across % 3):  # the arms of a spectrograph stay together, where there is room
        across -= across % 3
    rows = []
    for start in range(0, len(tiles), across):
        row = Text()
        for tile in tiles[start : start + across]:
            tile.truncate(wide - 1, overflow="ellipsis", pad=True)
            row.append_text(tile).append(" ")
        rows.append(row)
    done = sum(p.status is not None for p in unit.parts.values())
    return [_title(f"Cameras: {done} of {len(names)} have a verdict", width), *rows]


def _tile(name: str, unit: UnitNow, measured: tuple[int, int] | None) -> Text:
    part: PartNow | None = unit.parts.get(name)
    tile = Text(f"{plain(name)} ", style="bold")
    if part is not None and part.status is not None:
        tile.append(f"{MARK[part.status]}{_SHORT[part.status]}", style=f"not bold {STYLE[part.status]}")
    else:
        state = part.state if part is not None else "expected"
        words, style = _JOB.get(state, (plain(state), "dim"))
        tile.append(words, style=f"not bold {style}")
    if measured is not None:
        short = measured[0] < measured[1]
        tile.append(f" {measured[0]}/{measured[1]}", style="not bold magenta" if short else "not bold")
    return tile


def _title(text: str, width: int) -> Text:
    return Text(f"── {text} {'─' * max(0, width - len(text) - 4)}", style="dim")


def _work(now: Now) -> list[Text]:
    state, beat = now.state, now.beat
    if state is None:
        return []
    queue = {"open": "waiting", "running": "running", "done": "done", "failed": "FAILED"}
    line = Text("work: " + ", ".join(f"{state.queue.get(key, 0)} {word}" for key, word in queue.items()))
    if state.queue.get("failed"):
        line.highlight_words([f"{state.queue['failed']} FAILED"], style="bold red")
    if state.remaining_s:
        line.append(f"; about {span(state.remaining_s)} remain")
    if beat is not None and beat.arriving:
        line.append(f"; {beat.arriving} files arriving")
    if now_at := state.running:
        line.append(f"; now {_some(now_at, 3)}")
    lines = [line]
    if beat is not None:
        lines += [Text(f"{what}: {plain(why)}", style="bold red") for what, why in _troubles(beat.raw_trouble, beat.work_trouble)]
        late = beat.latency_s
        facts = [f"last byte to verdict {late['median']:.1f} s, 95 % in {late['p95']:.1f} s"] if {"median", "p95"} <= late.keys() else []
        facts += [f"{name} {mb:.0f} MB" for name, mb in sorted(beat.memory_mb.items())]
        facts += [f"disk {beat.disk_free_gb:.0f} GB free"] if beat.disk_free_gb is not None else []
        facts += [f"{plain(name)} {n} events behind" for name, n in beat.sinks.items() if n > 10]
        lines.append(Text(", ".join(facts)))
    if state.expected:
        lines.append(Text(f"expected and not there: {_some(state.expected, 6)}"))
    if state.session is not None:
        lines.append(Text(plain(session_line(state.session))))
    return lines


def _troubles(raw: str, work: str) -> list[tuple[str, str]]:
    return [(what, why) for what, why in (("RAW FILES ARE NOT SEEN", raw), ("NO WORK IS HANDED OUT", work)) if why]


def _some(names: Sequence[str], most: int) -> str:
    return plain(", ".join(names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _alarms(now: Now, now_ns: int) -> list[Text]:
    if not now.read:
        return [Text("alarms: not known", style="bold magenta")]
    if not now.alarms and now.beat is not None and "alarms" not in now.beat.sinks:
        return [Text("alarms: NOBODY WATCHES, this daemon has no sink `alarms`", style="bold magenta")]
    standing = [a for a in now.alarms.values() if not a.folded]
    counts = Counter(a.state for a in standing)
    words = ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "none is told"
    folded = len(now.alarms) - len(standing)
    line = Text(f"alarms: {plain(words)}" + (f" (and {folded} that follow from these)" if folded else "") + f"; mutes: {now.mutes}")
    line.stylize("bold", 0, 7)
    firing = sorted(standing, key=lambda a: (a.state not in ("firing", "pending"), -a.severity.rank, a.began))
    return [line, *(_alarm(a, now_ns) for a in firing)]


def _alarm(alarm: AlarmNow, now_ns: int) -> Text:
    mark = "■" if alarm.severity >= Severity.ALARM else "▲"
    who = f" by {plain(alarm.by)}" if alarm.by else ""
    head = (f"  {mark} {alarm.severity} ", _SEVERITY[alarm.severity])
    return Text.assemble(head, f"{plain(alarm.state)}{who}, {_ago(alarm.began, now_ns)}: {plain(alarm.what or alarm.key)}")


def _housekeeping(now: Now) -> list[Text]:
    if not now.read or not now.hk:
        known = "nothing is said of it (not watched, or no change for long)" if now.read else "not known"
        return [Text(f"housekeeping: {known}", style="dim")]
    counts = Counter(c.state for c in now.hk.values())
    line = Text("housekeeping: " + ", ".join(f"{counts[s]} {s}" for s in HkState if counts[s]))
    line.stylize("bold", 0, 13)
    bad = [c for c in now.hk.values() if c.state in _HK]
    return [line, *(_channel(c) for c in sorted(bad, key=lambda c: (list(_HK).index(c.state), c.subject)))]


def _channel(change: HkChange) -> Text:
    mark, style = _HK[change.state]
    return Text.assemble((f"  {mark} {change.state} ", style), plain(change.sentence))


def _latest(now: Now) -> list[Text]:
    units: Iterable[UnitNow] = now.state.units if now.state is not None else []
    lines = [Text("latest exposures", style="bold")]
    for i, unit in enumerate(units):
        line = Text(f"{'>' if i == now.chosen else ' '} {plain(unit.unit)} {plain(unit.flavor):10.10s} ").append_text(_status(unit.status))
        counts = Counter(p.status for p in unit.parts.values() if p.status is not None and p.status is not Status.NORMAL)
        line.append("".join(f"  {n} {status}" for status, n in counts.items()))
        if unit.decision in set(Decision):
            line.append(f"  {WORDS[Decision(unit.decision)]}", style=DECISION_STYLE[Decision(unit.decision)])
        lines.append(line)
    return lines
