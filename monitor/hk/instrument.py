"""The state of the instrument (cold, warm-up, exposing, ...), told by the values of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monitor.hk.config import StateSpec
from quicklook.core.numericwhen import meets

UNTOLD = "unknown"
"""No value of a channel that would tell."""
NONE = ""
"""None of the states."""


class InstrumentState:
    """Follows it: a state holds when its conditions have held for `after_s`; until then what was before holds."""

    def __init__(self, states: Sequence[StateSpec]) -> None:
        self.states = states
        self.now = UNTOLD if states else NONE
        self._next, self._since = self.now, 0.0
        self._after = {s.name: s.after_s for s in states}

    @property
    def channels(self) -> frozenset[str]:
        """Channels that tell the state."""
        return frozenset(c for s in self.states for c in s.when)

    @property
    def state(self) -> list[object]:
        """What it knows, for `resume`."""
        return [self.now, self._next, self._since]

    def resume(self, state: list[object]) -> None:
        """Go on as the one that gave this; a state that is not there any more is not known."""
        known = {*self._after, NONE, UNTOLD} if self.states else {NONE}
        now, coming, since = str(state[0]), str(state[1]), float(str(state[2]))
        if now in known:
            self.now, self._next, self._since = now, coming if coming in known else now, since

    def shift(self, by: float) -> None:
        """The clock was set."""
        self._since += by

    def follow(self, values: Mapping[str, str], time: float) -> bool:
        """Look at the latest valid values (as text) of those channels that have one; returns whether the state has changed."""
        told = self._told(values)
        if told != self._next:
            self._next, self._since = told, time
        if self._next == self.now or time - self._since < self._after.get(told, 0.0):
            return False
        self.now = self._next
        return True

    def _told(self, values: Mapping[str, str]) -> str:
        for state in self.states:
            if any(c not in values for c in state.when):
                # a later state may not be taken for this one, which could hold as well
                return UNTOLD
            if all(meets(values[c], wanted) for c, wanted in state.when.items()):
                return state.name
        return NONE
