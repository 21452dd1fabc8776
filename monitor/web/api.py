"""Routes that all pages share: the state of things, events, exposures, their QAs and plots, what people may do."""

from __future__ import annotations

import re
import time
from typing import Annotated

from pydantic import BeforeValidator, Field

from monitor.web.routing import Blob, Route
from quicklook.core.alarms import AlarmNow, MuteNow
from quicklook.core.errors import BadConfig, NotReadyYet
from quicklook.core.events import Event
from quicklook.core.hosting import About, ExposureNow, Host, NightCount, UnitLine
from quicklook.core.keys import Unit
from quicklook.core.results import QAResult, Record
from quicklook.core.wire import MAX_SEQ, CommandAnswer, State

WHOLE = "-"
"""How a path names the exposure as a whole, in place of a camera."""

TAG = r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$"
Tag = Annotated[str, Field(max_length=100, pattern=TAG, description="tag of the processing; empty: the live one")]
Night = Annotated[int, Field(ge=0, lt=10**8, description="YYYYMMDD")]
Expid = Annotated[int, Field(ge=0, lt=10**18)]
Revision = Annotated[int | None, Field(ge=0, lt=10**9, description="default: the last one")]
Part = Annotated[str, Field(max_length=100, description="camera; - for the exposure as a whole")]
Kinds = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    BeforeValidator(lambda given: [k for k in given.split(",") if k] if isinstance(given, str) else given),
    Field(max_length=100, description="kinds of events, with commas between them; empty: all"),
]


class TagAsk(Record):
    """Under which tag."""

    tag: Tag = ""


class Nothing(Record):
    """Nothing is to be said."""


class StateAsk(TagAsk):
    """The state, with so many of the latest exposures."""

    units: int = Field(20, ge=0, le=200)


class StateAnswer(Record):
    """The state of things now, alarms and mutes that stand. `lives`: a daemon works now; `server_time`, `last_event`: UTC, ns."""

    state: State
    lives: bool
    last_event: int | None
    server_time: int
    alarms: list[AlarmNow]
    mutes: list[MuteNow]


class EventsAsk(Record):
    """Events above a number."""

    after: int = Field(0, ge=0, le=MAX_SEQ)
    limit: int = Field(200, ge=1, le=1000)
    kinds: Kinds = Field(default_factory=list)


class EventsAnswer(Record):
    """Events in order; there are more where the last of them is not number `last`."""

    epoch: str
    last: int
    events: list[Event]


class NightsAnswer(Record):
    """Nights with exposures, the latest first."""

    nights: list[NightCount]


class NightAsk(TagAsk):
    """A night."""

    night: Night


class NightAnswer(Record):
    """Exposures of a night, the latest first, as they are when event `seq` is the last."""

    night: str
    tag: str
    seq: int
    units: list[UnitLine]


class ExposureAsk(TagAsk):
    """An exposure, under a tag, in a revision."""

    night: Night
    expid: Expid
    revision: Revision = None

    @property
    def unit(self) -> Unit:
        """Its key."""
        return Unit(self.night, self.expid)


class PartAsk(ExposureAsk):
    """A camera of an exposure, or the exposure as a whole."""

    part: Part

    @property
    def camera(self) -> str:
        """The camera; "" for the exposure as a whole."""
        return "" if self.part == WHOLE else self.part


class QAsAnswer(Record):
    """Results of QAs with every metric and limit."""

    part: str
    qas: list[QAResult]


class PlotAsk(PartAsk):
    """A plot of a camera."""

    name: str = Field(max_length=200)


class Action(Record):
    """What somebody wants done, in whose name."""

    command: str = Field(max_length=64)
    args: dict[str, Annotated[str, Field(max_length=2000)]] = Field(default_factory=dict, max_length=20)
    by: str = Field(min_length=1, max_length=100, pattern=r"\S")


MAY = ("acknowledge", "mute", "unmute", "mark", "requeue", "rerun", "override")
"""Commands that can be given here; what ends a daemon or changes its configuration is given at its machine."""


def about(host: Host, _ask: Nothing) -> About:
    """What is shown."""
    return host.about()


def state(host: Host, ask: StateAsk) -> StateAnswer:
    """The state of things now."""
    now, alarms = host.state(ask.tag, ask.units), host.alarms(past=0)
    last = [event.time for event in host.events(max(0, now.seq - 1), limit=1, brief=True)]
    return StateAnswer(
        state=now, lives=host.lives(), last_event=last[0] if last else None, server_time=time.time_ns(), alarms=alarms.now, mutes=alarms.mutes
    )


def events(host: Host, ask: EventsAsk) -> EventsAnswer:
    """Events, whole."""
    last = host.last_seq()
    return EventsAnswer(epoch=host.epoch(), last=last, events=host.events(ask.after, limit=ask.limit, kinds=ask.kinds))


def nights(host: Host, ask: TagAsk) -> NightsAnswer:
    """All nights."""
    return NightsAnswer(nights=host.nights(ask.tag))


def night(host: Host, ask: NightAsk) -> NightAnswer:
    """The table of a night."""
    seq = host.last_seq()
    return NightAnswer(night=f"{ask.night:08d}", tag=ask.tag or host.about().tag, seq=seq, units=host.night(ask.night, ask.tag))


def latest(host: Host, ask: TagAsk) -> ExposureNow:
    """The exposure that came last."""
    unit = host.latest(ask.tag)
    if unit is None:
        raise NotReadyYet("no exposure has arrived")
    return host.exposure(unit, ask.tag)


def exposure(host: Host, ask: ExposureAsk) -> ExposureNow:
    """One exposure."""
    return host.exposure(ask.unit, ask.tag, ask.revision)


def qas(host: Host, ask: PartAsk) -> QAsAnswer:
    """Its QAs."""
    return QAsAnswer(part=ask.camera, qas=host.qas(ask.unit, ask.camera, ask.tag, ask.revision))


def plot(host: Host, ask: PlotAsk) -> Blob:
    """A plot as it was drawn."""
    found = host.files(ask.unit, ask.tag, "plot", ask.camera, ask.revision)
    ref = next((f for f in found if f.name == ask.name), None)
    if ref is None:
        raise NotReadyYet(f"{ask.unit} {ask.part} has no plot {ask.name} that is drawn")
    try:
        with open(ref.path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise NotReadyYet(f"the plot {ask.name} cannot be read: {error.strerror}") from error
    return Blob(content=content, media_type="image/png", etag=ref.sha256[:32])


def act(host: Host, ask: Action) -> CommandAnswer:
    """Give the daemon a command, or show a frame."""
    if ask.command == "show":
        unknown = sorted(set(ask.args) - {"unit", "part", "product", "tag"})
        if unknown:
            raise BadConfig(f"show has no argument {', '.join(unknown)}", what_next="It takes unit, part, product, tag.")
        try:
            unit = Unit.parse(ask.args.get("unit", ""))
        except ValueError as error:
            raise BadConfig(str(error)) from error
        tag = ask.args.get("tag", "")
        if not re.fullmatch(TAG, tag):
            raise BadConfig(f"{tag[:100]!r} is no tag")
        return CommandAnswer(command="show", said=host.show(unit, ask.args.get("part", ""), ask.args.get("product", "raw"), tag))
    if ask.command not in MAY:
        raise BadConfig(f"{ask.command!r} cannot be done here; there are: {', '.join((*MAY, 'show'))}", what_next="Use `quicklook ctl`.")
    return host.command(ask.command, ask.args, ask.by)


ROUTES = (
    Route("GET", "/about", about, "What is shown: instrument, cameras, tags, versions"),
    Route("GET", "/state", state, "The state of things now, with alarms", shared=True),
    Route("GET", "/events", events, "Events, in order"),
    Route("GET", "/nights", nights, "Nights with exposures", shared=True),
    Route("GET", "/nights/{night}", night, "Exposures of a night", shared=True),
    Route("GET", "/exposures/latest", latest, "The exposure that arrived last", name="latest_exposure", shared=True),
    Route("GET", "/exposures/{night}/{expid}", exposure, "An exposure: verdict, decision, cameras, plots, products", shared=True),
    Route("GET", "/exposures/{night}/{expid}/qas/{part}", qas, "QAs of a camera, with every metric and limit"),
    Route("GET", "/exposures/{night}/{expid}/plots/{part}/{name}", plot, "A plot as it was drawn, PNG"),
    Route("POST", "/actions/{command}", act, "Acknowledge, mute, unmute or mark an alarm; requeue, rerun or override; show a frame in DS9"),
)
