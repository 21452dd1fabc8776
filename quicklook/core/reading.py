"""What reading a part gives: its products and the tags by which configuration and limits are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from quicklook.core.product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Step 0 of a chain: products by type, and tags (instrument, camera, arm, flavor, program, night, ...), all strings.

    `degraded` says in sentences what is missing and must be worked without (a late companion). `sequences` gives the products of each
    exposure of a group, by type, where it is a group that was read.
    """

    products: tuple[Product, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    degraded: tuple[str, ...] = ()
    sequences: Mapping[type[Product], Sequence[Product]] = field(default_factory=dict)


Read = Callable[[], Reading]
