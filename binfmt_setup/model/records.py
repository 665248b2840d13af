"""Frozen records: what `@dataclass(frozen=True)` gives, for modules that every command imports.

The library compiles six methods for each of its classes and first imports inspect, ast and
tokenize, which was 19 of the 68 ms that `install` of eight platforms took. Records share their
methods, and nothing is compiled. Type checkers take them for frozen dataclasses (PEP 681).
What changes on its way is an ordinary class or a dataclass, and so is what holds a password.
"""

from __future__ import annotations

from types import MappingProxyType

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar, TypeVar

    from typing_extensions import Never, Self, dataclass_transform

else:

    def dataclass_transform(**_: object) -> object:
        """Do nothing, as the one in typing does; that is there from Python 3.11 on."""
        return lambda decorated: decorated


NOTHING: Mapping[str, Never] = MappingProxyType({})
"""A mapping with nothing in it, to be a default."""


@dataclass_transform(frozen_default=True)
class Record:
    """Values under names, fixed once made; equal to records of the same class and values."""

    _fields: ClassVar[tuple[str, ...]] = ()
    _known: ClassVar[frozenset[str]] = frozenset()
    _defaults: ClassVar[Mapping[str, object]] = {}

    def __init_subclass__(cls) -> None:
        """Learn the fields: what is annotated, in that order, after those of a base."""
        own = {name: vars(cls)[name] for name in cls.__annotations__ if name in vars(cls)}
        cls._fields = (*cls._fields, *cls.__annotations__)
        cls._known = frozenset(cls._fields)
        cls._defaults = {**cls._defaults, **own}

    def __init__(self, *values: object, **named: object) -> None:
        names = self._fields
        fields = {**self._defaults, **dict(zip(names, values, strict=False)), **named}
        twice = values and not named.keys().isdisjoint(names[: len(values)])
        if twice or len(values) > len(names) or fields.keys() != self._known:
            given = ", ".join([*map(repr, values), *named])
            raise TypeError(f"{type(self).__qualname__}({', '.join(names)}) was given: {given}")
        self.__dict__.update(fields)

    def _values(self) -> tuple[object, ...]:
        fields = self.__dict__  # beside them may lie what cached properties keep
        return tuple([fields[name] for name in self._fields])

    def __replace__(self, /, **changes: object) -> Self:
        """The same but for some fields; copy.replace calls it from Python 3.13 on."""
        fields = dict(zip(self._fields, self._values(), strict=True))
        return type(self)(**{**fields, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__qualname__} is frozen: {name} stays as it is")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__qualname__} is frozen: {name} stays")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record) or type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        fields = zip(self._fields, self._values(), strict=True)
        shown = ", ".join(f"{name}={value!r}" for name, value in fields)
        return f"{type(self).__qualname__}({shown})"


if TYPE_CHECKING:
    R = TypeVar("R", bound=Record)


def replace(record: R, /, **changes: object) -> R:
    """The same record but for some fields; raises TypeError for what is no field."""
    return record.__replace__(**changes)
