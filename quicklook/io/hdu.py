"""What is known of one HDU of a FITS file by its header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quicklook.ccd.image import Header

Kind = Literal["empty", "image", "compressed", "table", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HduInfo:
    """One HDU. `shape` is that of the image, in the order of numpy, also where it is tile-compressed; () where there is none.

    `header` is the header of the image: of a compressed one the keywords that describe its table are replaced by those of the image.
    `stored` is the header as it is written.
    """

    index: int
    name: str
    kind: Kind
    shape: tuple[int, ...]
    header: Header
    stored: Header
    data_offset: int
    data_size: int

    @property
    def label(self) -> str:
        """For messages: number and name."""
        return f"HDU {self.index} ({self.name})" if self.name else f"HDU {self.index}"

    @property
    def is_image(self) -> bool:
        """Whether it holds pixels."""
        return self.kind in ("image", "compressed")
