"""Items that are made while those before them are used: decoding, painting and encoding of a clip at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def ahead(items: Iterator[Item], name: str) -> Generator[Item, None, None]:
    """The same items; a thread of this name makes the next one while the caller uses the last.

    So at most one waits. What making one raises is raised in its turn. Close this, which waits for the item that is
    being made, before `items` is closed.
    """
    with ThreadPoolExecutor(1, name) as maker:
        coming = maker.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = maker.submit(next, items, _END)
            yield item  # type: ignore[misc]
