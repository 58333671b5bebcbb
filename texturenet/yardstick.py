"""Runs of the iterative reference (Gatys et al. 2016), as the yardstick uses them, kept on the disk.

The reference's pixels stay in [0, 1], as those of Johnson et al. do, since the generator's are in
that range too. Unclipped, L-BFGS reports a loss a few per cent lower, of a picture that no file can hold; once that is
clipped for saving, its loss is 20 to 30% higher (mosaic, lite, 150 iterations).

The reference depends on the loss, the photo and its size, not on the generator. So its runs are kept on the disk, one
row and a few pictures each, and serve every other checkpoint that was trained for the same loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texturenet import gatys, images, metrics
from texturenet.devices import describe
from texturenet.judging import Judged
from texturenet.losses import PerceptualLoss
from texturenet.presets import GatysRecipe
from texturenet.reports import Rows, fingerprint

SNAPSHOTS = (50, 100, 300)  # iterations whose pictures are kept, beside the last
NOISE_SEED = 0
# One more with every change to gatys.py, lbfgs.py or losses.py that moves a result: kept runs are then done again.
METHOD = 2


@dataclass(frozen=True)
class Trajectory:
    """One run of the reference."""

    totals: list[float]  # loss after 0, 1, 2 ... iterations
    first: dict[str, float]  # terms of the loss of its start
    best: dict[str, float]  # terms of the iterate of least loss
    pictures: dict[int, Tensor]  # iteration -> (1, 3, H, W) in [0, 1]
    seconds: float  # of all iterations
    device: str  # that took them, in words

    @property
    def iterations(self) -> int:
        return len(self.totals) - 1

    def gap_closed(self, loss: float) -> float:
        """Share of the way from the start's loss to the best one's, see `metrics.gap_closed`."""
        return metrics.gap_closed(self.first["total"], loss, self.best["total"])


def run_reference(
    loss_function: PerceptualLoss,
    photo: Tensor,
    start: Tensor,
    iterations: int,
    on_iteration: Callable[[float], None] | None = None,
) -> Trajectory:
    """L-BFGS within [0, 1] from `start`, photo and start (1, 3, H, W) on one device.

    Raises ValueError for a loss that diverges.
    """
    seen: list[dict[str, float]] = []
    pictures: dict[int, Tensor] = {}

    def note(iterate: gatys.Iterate) -> None:
        seen.append(iterate.losses)
        if iterate.iteration in (*SNAPSHOTS, iterations):
            pictures[iterate.iteration] = iterate.image.cpu()
        if on_iteration is not None and iterate.iteration > 0:
            on_iteration(iterate.losses["total"])

    recipe = GatysRecipe(optimizer="lbfgs", iterations=iterations, clip=True)
    begin = time.perf_counter()
    gatys.descend(loss_function, start, loss_function.content_features(photo), recipe, note)
    seconds = time.perf_counter() - begin
    totals = [terms["total"] for terms in seen]
    best = min(seen, key=lambda terms: terms["total"])
    return Trajectory(totals, seen[0], best, pictures, seconds, describe(photo.device))


class References:
    """Runs of the reference, kept in a folder: `rows.jsonl` and PNGs of the snapshots."""

    def __init__(self, folder: Path, device: torch.device, fresh: bool = False) -> None:
        self.folder, self.device = folder, device
        self.rows = Rows(folder / "rows.jsonl", fresh)

    def get(self, style: Judged, photo: Tensor, kind: str, iterations: int, bar: Any) -> Trajectory:
        """The run from the photo (kind "photo") or from white noise ("noise"); from the disk where it is there."""
        key = fingerprint(style.loss_key, photo, [METHOD, kind, NOISE_SEED, iterations, self.device.type])
        kept = self._load(key)
        if kept is not None:
            bar.update(iterations)
            return kept
        photo = photo.to(self.device)
        noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(NOISE_SEED)).to(self.device)

        def tick(total: float) -> None:
            bar.set_postfix_str(f"from {kind}: loss {total:.4g}", refresh=False)
            bar.update()

        run = run_reference(style.loss_function, photo, noise if kind == "noise" else photo, iterations, tick)
        for iteration, picture in run.pictures.items():
            images.save_image(picture, self._picture(key, iteration))
        self.rows.add(
            key,
            {
                "start": kind,
                "size": max(photo.shape[-2:]),
                "device": run.device,
                "seconds": run.seconds,
                "totals": run.totals,
                "first": run.first,
                "best": run.best,
                "pictures": sorted(run.pictures),
            },
        )
        return run

    def _load(self, key: str) -> Trajectory | None:
        row = self.rows.get(key)
        if row is None:
            return None
        try:
            pictures = {iteration: images.load_image(self._picture(key, iteration)) for iteration in row["pictures"]}
        except images.ImageError:  # somebody tidied up
            return None
        return Trajectory(row["totals"], row["first"], row["best"], pictures, row["seconds"], row["device"])

    def _picture(self, key: str, iteration: int) -> Path:
        return self.folder / f"{key}-{iteration:04d}.png"
