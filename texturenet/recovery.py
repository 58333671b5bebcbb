"""What brings a run past a loss that is not finite, and to its end past a signal."""

from __future__ import annotations

import contextlib
import copy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from texturenet.learner import Learner
from texturenet.monitor import notice

ROLLBACKS = 3  # times in a run
SLOWER = 0.5  # what the learning rate is multiplied by each time
SIGNAL_EXIT = 128  # a run ended by signal n exits with 128 + n, as shells have it


class Interrupted(Exception):
    """A signal ended the run after its checkpoint was saved."""

    def __init__(self, number: int, path: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; saved {path}")
        self.exit_code = SIGNAL_EXIT + number


class NonFiniteLoss(ValueError):
    """The loss is NaN or infinite; the last checkpoint is older and good."""


class Rollback:
    """The last good state of a learner, in memory, and the way back to it.

    path  of its checkpoint, for the line that ends the run
    """

    def __init__(self, learner: Learner, path: Path) -> None:
        self._learner, self._path, self._count = learner, path, 0
        self.remember()

    def remember(self) -> None:
        """Take the learner's state for good."""
        learner = self._learner
        state = {"weights": learner.generator.state_dict(), "step": learner.steps, **learner.training()}
        self._good = copy.deepcopy(state)

    def back(self, fault: NonFiniteLoss) -> None:
        """Put the good state back, with a lower learning rate from there on. Raises NonFiniteLoss after ROLLBACKS."""
        self._count += 1
        if self._count > ROLLBACKS:
            kept = f"; {self._path} of an earlier step is good" if self._path.exists() else ""
            raise NonFiniteLoss(f"{fault}{kept}; try a lower --learning_rate, or --precision fp32")
        self._good["slowdown"] *= SLOWER
        self._learner.restore(copy.deepcopy(self._good))  # Adam goes on in the tensors that it is given
        notice(
            f"{fault}: back to step {self._learner.steps}, at {self._learner.slowdown:g} times the learning rate "
            f"({self._count} of {ROLLBACKS} times)"
        )


@contextlib.contextmanager
def signals_caught() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM so that a step can end and be saved; a second one acts as usual."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _frame: Any) -> None:
        caught.append(number)
        signal.signal(number, before[number])
        print("\nfinishing this step and saving (again: stop at once) ...", file=sys.stderr)

    try:
        for number in map(int, (signal.SIGINT, signal.SIGTERM)):
            before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: whoever started us handles signals
        pass
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
