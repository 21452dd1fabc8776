"""What a person chooses on the command line: numbers, nights, parts (cameras), each as a short text. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass

from quicklook.core.errors import BadConfig

_RANGE = re.compile(r"(\d{1,18})(?:\s*-\s*(\d{1,18}))?\Z")
_GROUP = re.compile(r"([a-z]+|(?<![a-z])\*)(\d*)")
_PATTERN = frozenset("*?[")
EVERY_ARM = "a"
"""Letter that stands for all arms, as in ``a0123``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Numbers that are wanted: ranges with both ends included, in the order of the text."""

    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and any(low <= number <= high for low, high in self.ranges)

    @classmethod
    def parse(cls, text: str, option: str) -> Numbers:
        """From ``102``, ``100-199``, ``100-104,110``. Raises BadConfig, naming the option and what cannot be read."""
        ranges = []
        for item in (i.strip() for i in text.split(",")):
            found = _RANGE.match(item)
            if found is None:
                raise BadConfig(f"{option} {text}: {item!r} is no number and no range; write them as in 102 or 100-104,110")
            low, high = int(found[1]), int(found[2] or found[1])
            if low > high:
                raise BadConfig(f"{option} {text}: the range {item} runs backwards; write {high}-{low}")
            ranges.append((low, high))
        return cls(ranges=tuple(ranges))


def parse_nights(text: str) -> Numbers:
    """Nights (YYYYMMDD), as `Numbers.parse`. Raises BadConfig also for a number that is no night."""
    nights = Numbers.parse(text, "--night")
    for end in (end for ends in nights.ranges for end in ends):
        if not 10**7 <= end < 10**8:
            raise BadConfig(f"--night {text}: {end} is no night; write it as YYYYMMDD, or the first and the last as YYYYMMDD-YYYYMMDD")
    return nights


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One item of a specification, and what it comes to: arms and spectrographs, each empty for all."""

    text: str
    groups: tuple[tuple[str, str], ...] = ()

    def takes(self, part: str, tags: Mapping[str, str]) -> bool:
        return self._named(part) or any(_fits(group, tags) for group in self.groups)

    def idle(self, parts: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
        """The item, where it takes none of these parts; else those of its groups that take none: a letter may be misspelt."""
        if any(map(self._named, parts)):
            return ()
        idle = tuple(f"{g[0]}{g[1]}" for g in self.groups if not any(_fits(g, tags) for tags in parts.values()))
        return (self.text,) if len(idle) == len(self.groups) else idle

    def _named(self, part: str) -> bool:
        return part.lower() == self.text or bool(_PATTERN & set(self.text) and fnmatch.fnmatchcase(part.lower(), self.text))


def _fits(group: tuple[str, str], tags: Mapping[str, str]) -> bool:
    (arms, numbers), arm, number = group, tags.get("arm", "").lower(), tags.get("spectrograph", "")
    return bool(arm and number) and (arms in (EVERY_ARM, "*") or arm in arms) and (not numbers or number in numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Parts (cameras) that are wanted, by name, by pattern, or by arms and spectrographs; all where there is no item.

    The text has items with commas between them. An item is the name of a camera, a pattern of names (``*``, ``?``, ``[...]``), or groups of letters
    and digits: the letters are arms (``a`` alone: all of them), the digits spectrographs (none: all of them). ``a0123b4`` are all arms of
    spectrographs 0 to 3, and arm b of 4; ``br`` all cameras of arms b and r; ``br01,z9`` are b0, b1, r0, r1 and z9. A name goes before a group; a
    ``*`` behind a letter is a pattern (``b*``), before digits all arms (``*01``).
    Spectrographs whose number has several digits are named or matched by a pattern.
    """

    items: tuple[_Item, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Parts:
        """From the text of an option. Raises BadConfig for an item that is empty."""
        items = []
        for item in (i.strip().lower() for i in text.split(",")):
            if not item:
                raise BadConfig(f"--camera {text!r}: an item is empty; write cameras as in r0,z1 or a0123b4 (all arms of 0 to 3, arm b of 4)")
            found = _GROUP.findall(item)
            whole = "".join(arms + numbers for arms, numbers in found) == item
            items.append(_Item(text=item, groups=tuple(found) if whole else ()))
        return cls(items=tuple(items))

    def takes(self, part: str, tags: Mapping[str, str]) -> bool:
        """Whether a part is wanted; `tags` say its arm and spectrograph, where it has them."""
        return not self.items or any(item.takes(part, tags) for item in self.items)

    def idle(self, parts: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
        """Items, or groups of one, that take none of these parts (tags by name): a name may be misspelt."""
        return tuple(text for item in self.items for text in item.idle(parts))
