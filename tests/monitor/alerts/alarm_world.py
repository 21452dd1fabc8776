"""A small world of alarms for property tests: signals, people and time as steps, and a slow account of what must come of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from monitor.alerts.handling import Escalation, Handling
from monitor.alerts.machine import Machine
from monitor.alerts.model import Change, Mute, Notice, Signal
from monitor.alerts.standing import Outcome
from quicklook.core.severity import Severity

S = 1_000_000_000
HANDLING = {
    "plain": Handling(channels=("mail",), wait_s=0),
    "held": Handling(channels=("mail",), hold_s=20, clear_s=30, wait_s=5, again_s=300, escalate=(Escalation(after_s=60, to=("phone",)),)),
    "cause": Handling(channels=("mail",), wait_s=10),
    "consequence": Handling(channels=("mail",), wait_s=10, inhibited_by=("cause",), equal=("crate",)),
    "frame": Handling(channels=("mail",), wait_s=5, keep_s=600),
}


@dataclass(frozen=True)
class Step:
    """Seconds that pass, and then what happens: `do` is signal, ack, mute, unmute or tick."""

    after_s: int
    do: str
    key: str = ""
    active: bool = True
    severity: Severity = Severity.WARNING


KEYS = ("plain/a", "plain/b", "held/a", "held/b", "cause/x", "consequence/1", "consequence/2", "frame/r0")
TOGETHER = (("plain/a",), ("held/a",), ("frame/r0",), ("cause/x", "consequence/1", "consequence/2"), KEYS)
"""Where all of them take part, few things happen to each: what needs several steps on one is found with few."""


def steps_on(keys: tuple[str, ...]) -> st.SearchStrategy[list[Step]]:
    """Histories of these keys."""
    step = st.builds(
        Step,
        after_s=st.sampled_from((0, 1, 5, 20, 61, 400)),
        do=st.sampled_from(("signal",) * 6 + ("ack", "mute", "unmute", "tick", "tick")),
        key=st.sampled_from(keys),
        active=st.booleans(),
        severity=st.sampled_from([s for s in Severity if s.rank]),
    )
    return st.lists(step, max_size=60)


STEPS = st.sampled_from(TOGETHER).flatmap(steps_on)


@dataclass
class World:
    """Runs steps; a tick follows each. `reborn`: the machine is made anew from its records after every step, through JSON."""

    reborn: bool = False
    machine: Machine = field(default_factory=lambda: Machine(HANDLING))
    time: int = 1_000 * S
    notices: list[Notice] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    conditions: dict[str, Severity] = field(default_factory=dict)

    def step(self, step: Step) -> None:
        self.time += step.after_s * S
        if step.do == "signal":
            rule = step.key.partition("/")[0]
            self.conditions |= {step.key: step.severity} if step.active else {}
            if not step.active:
                self.conditions.pop(step.key, None)
            facts = {"crate": "1"} if step.key != "consequence/2" else {"crate": "2"}
            self._take(self.machine.signal(self.time, Signal(
                key=step.key, rule=rule, active=step.active, severity=step.severity, frame=rule == "frame", what=step.key, facts=facts,
            )))  # fmt: skip
        elif step.do == "ack":
            self._take(self.machine.acknowledge(self.time, step.key, "ann"))
            if step.key.startswith("frame"):
                self.conditions.pop(step.key, None)
        elif step.do == "mute":
            mute = Mute(id=step.key, pattern=step.key, owner="bob", reason="work", made=self.time, until=self.time + 100 * S, severity=step.severity)
            self._take(self.machine.mute(self.time, mute))
        elif step.do == "unmute" and step.key in self.machine.mutes:
            self._take(self.machine.unmute(self.time, step.key, "bob"))
        self._take(self.machine.tick(self.time))

    def run(self, steps: list[Step]) -> World:
        for step in steps:
            self.step(step)
            if self.reborn:
                incidents = [type(i).model_validate_json(i.model_dump_json()) for i in self.machine.incidents.values()]
                mutes = [type(m).model_validate_json(m.model_dump_json()) for m in self.machine.mutes.values()]
                self.machine = Machine(HANDLING, incidents, mutes, self.machine.now)
        return self

    def settle(self, seconds: int = 2000, every: int = 20) -> World:
        """Time alone, until all that waits has happened; what is muted is so no longer."""
        for _ in range(seconds // every):
            self.step(Step(every, "tick"))
        return self

    def end(self) -> World:
        """Every condition goes away, and time goes on."""
        for key in list(self.conditions):
            self.step(Step(1, "signal", key, active=False))
        return self.settle()

    def _take(self, out: Outcome) -> None:
        self.notices += out.notices
        self.changes += out.changes
