"""What keeps a painted clip still: instance-norm statistics that follow the clip slowly.

Each frame by itself gets its own mean and variance at every norm, so that an object that comes in repaints what it does
not touch. Here each statistic is an exponential moving average over the frames before (`SECONDS`). But where most of
the picture changes at once, at a cut or under flickering light, old statistics are wrong ones, and the average of a
light's flicker makes it three to four times as strong, because each frame's own would have divided it out. So the
average lets go as far as the *median* of the frame has changed, which an object that covers less than half of it does
not move. Measured on 256x192 px at 15 frames/s, mean change from frame to frame of the parts that stand still,
frame's own -> moving average alone -> as here: a square that blinks 0.056 -> 0.029 -> 0.029, one that crosses
0.033 -> 0.025 -> 0.025; and of all of a frame whose light flickers by 4%, 0.022 -> 0.089 -> 0.022. These scenes, of one
photo in one style, are also what the two constants were chosen on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenet.norms import Statistics, given_statistics

SECONDS = 2.0
ALL_NEW = 0.02  # median change, of full scale, from which a frame's own statistics are used


class Steady:
    """`paint` for the frames of one clip, in their order.

    paint  (1, 3, H, W) in [0, 1] -> the same shape; with the same noise each time. Networks without instance norm, or
           not run by torch, go through as they are.
    """

    def __init__(self, paint: Callable[[Tensor], Tensor]) -> None:
        self._paint = paint
        self._past: list[list[Statistics]] = []  # of each pass of a network in the frame before
        self._seen: tuple[float, Tensor] | None = None  # time of the frame before, and its thumbnail

    def __call__(self, frame: Tensor, time: float) -> Tensor:
        """The frame of that time (seconds), painted."""
        weight = self._weight(frame, time)
        now: list[list[Statistics]] = []

        def choose(place: int, measured: Statistics) -> Statistics:
            if place == 0:
                now.append([])
            past = self._past[len(now) - 1] if len(now) <= len(self._past) else []
            mean, variance = measured
            if place < len(past):
                # What float16 overflowed to in the frame before is no past.
                mean, variance = (
                    torch.where(old.to(new).isfinite(), torch.lerp(old.to(new), new, weight), new)
                    for old, new in zip(past[place], (mean, variance), strict=True)
                )
            now[-1].append((mean, variance))
            return mean, variance

        with given_statistics(choose):
            picture = self._paint(frame)
        self._past = now
        return picture

    def _weight(self, frame: Tensor, time: float) -> float:
        """Of this frame's own statistics in the average, 0..1."""
        thumbnail = F.adaptive_avg_pool2d(frame, 16)
        before, self._seen = self._seen, (time, thumbnail)
        if before is None:
            return 1.0
        change = float((thumbnail - before[1]).abs().mean(dim=1).median())
        return min(1.0, max(change / ALL_NEW, 1 - math.exp((before[0] - time) / SECONDS)))

    def state(self) -> dict[str, Any]:
        """What the next frame depends on; plain tensors and numbers on the CPU."""
        passes = [[(mean.cpu(), variance.cpu()) for mean, variance in past] for past in self._past]
        return {"passes": passes, "seen": self._seen}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another `state` was taken; from one of an earlier version, with the frame's own statistics."""
        self._past, self._seen = state.get("passes", []), state["seen"]
