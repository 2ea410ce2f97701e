"""The one registry type: names to things, with an error that knows what there is."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Generic, TypeVar

from fragenv.errors import FragenvError

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping that is filled once, at import time.

    >>> chips: Registry[int] = Registry("chip")
    >>> chips.add("small", 1)
    >>> chips.get("small")
    1
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> None:
        """Register ``item``; ValueError where the name is taken."""
        if name in self._items:
            raise ValueError(f"{self.kind} '{name}' is registered already")
        self._items[name] = item

    def get(self, name: str) -> T:
        """The item of that name.

        Raises:
            FragenvError: there is none; the message lists what there is.
        """
        if name not in self._items:
            close = get_close_matches(name, self._items, 1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            known = ", ".join(self._items)
            raise FragenvError(f"unknown {self.kind} '{name}'; {hint}known are {known}")
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
