"""A row of a table of timings: who runs in it, how often, and what the work is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.limits import Rates, Work, limit
from benchmarks.timing import Contender, interleaved, left_out


@dataclass(frozen=True)
class Cell:
    """pixels  of the whole batch; works  by network, "plain" being that of ours too"""

    name: str
    batch: int
    pixels: int
    contenders: Sequence[Contender]
    works: Mapping[str, Work]
    rounds: int

    def effort(self, device: torch.device) -> int:
        """Floating-point operations of all that runs, about: for the progress bar."""
        reasons = left_out(self.contenders, device)
        running = [contender.name for contender in self.contenders if contender.name not in reasons]
        return self.rounds * sum(self.works.get(name, self.works["plain"]).flops for name in running)

    def measure(
        self, rates: Rates, device: torch.device, threads: int | None, tick: Callable[[int], object]
    ) -> dict[str, Any]:
        """The row as the JSON has it. `tick` is told the effort that is behind."""
        effort, done = self.effort(device), 0

        def round_ended() -> None:
            nonlocal done
            done += effort // self.rounds
            tick(effort // self.rounds)

        measured = interleaved(self.contenders, self.rounds, device, threads, round_ended)
        tick(effort - done)  # of what failed
        return {
            "name": self.name,
            "batch": self.batch,
            "pixels": self.pixels,
            "contenders": {name: asdict(found) for name, found in measured.items()},
            "works": {name: asdict(work) for name, work in self.works.items()},
            "limits": {name: asdict(limit(work, rates)) for name, work in self.works.items()},
        }
