"""Products: the typed data that steps take and make, and how a signature asks for them."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeVar

T = TypeVar("T")


class Product:
    """Base of everything that a step can take or make. The type is the contract: the runner keeps the latest of each type."""

    __slots__ = ()

    kind: ClassVar[str] = ""
    """Short name of the type in files, messages and reports."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("kind"):
            raise TypeError(f"{cls.__qualname__}: a product names its `kind`")

    @property
    def label(self) -> str:
        """By which a product is asked for and its file is named: the kind. A type that goes through stages says here which one it is at."""
        return self.kind


class Calibration(Product):
    """A product that may also come from the calibration index, by its `kind`, when no earlier step has made it."""

    __slots__ = ()
    kind = "calibration"


class _BeforeMarker:
    def __repr__(self) -> str:
        return "Before"


BEFORE = _BeforeMarker()

Before = Annotated[T, BEFORE]
"""``before: Before[Frame]`` in the signature of a QA: the product as it stood before the step that the QA is paired with."""
