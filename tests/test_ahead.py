"""One item ahead: side by side, in order, with errors where they belong, and ended when nobody wants more."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from texturenet.ahead import ahead

SECONDS = 10.0  # after which a thread that should have come is given up


def test_the_next_item_is_made_while_one_is_used() -> None:
    making = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, begun in enumerate(making):
            begun.set()
            yield number

    used = []
    for item in ahead(items(), "maker"):
        if item + 1 < len(making):
            assert making[item + 1].wait(SECONDS)
        used.append(item)
    assert used == [0, 1, 2]


def test_an_error_comes_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 0
        yield 1
        raise ValueError("cut short")

    used = []
    with pytest.raises(ValueError, match="cut short"):
        for item in ahead(items(), "maker"):
            used.append(item)
    assert used == [0, 1]


def test_closing_ends_the_thread_and_makes_no_more() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    source = items()
    with contextlib.closing(ahead(source, "closed")) as coming:
        assert next(coming) == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("closed")]
    source.close()  # type: ignore[attr-defined]  # not while it runs
    assert made[0] == 0 and len(made) <= 2
