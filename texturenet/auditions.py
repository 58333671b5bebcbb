"""Which style a new one begins with: `--start_from auto`, of those that ship the one that learns the texture fastest.

Each is trained for a fifteenth of the run's steps, 60 at most, on the same small crops and noise, and the one whose
loss is lowest over the second half of them goes on. With nine styles that is a seventh of the pixels of a run on crops
of 256 px. Where both were measured, the first after 60 steps was the best after 900 too, or within 1 % of it; the loss
before the first step tells little, since colours come first and fast. See "What a style begins with" in
docs/experiments.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from texturenet import styles, supply
from texturenet.checkpoint import CheckpointError
from texturenet.job import SHAPES, Job, beginning, paints_alone, say_what_differs
from texturenet.learner import Learner
from texturenet.monitor import notice
from texturenet.processes import ALONE

SHARE, MOST = 15, 60  # a trial has one step for so many of the run's, and no more than so many
SIDE = 128  # px of its crops


def begun(job: Job) -> Job:
    """The job with the weights of the style that does best, which its checkpoint will name; others as they are.

    Which one is announced. Where none that ships fits the network, weights are drawn, which is said too.
    Raises OutOfMemory, and what `supply.batches` raises.
    """
    if job.recipe.start_from != "auto" or job.resumed:
        return job
    say = notice if job.processes.rank == 0 else lambda _line: None
    found = _fitting(job, say)
    if not found:
        say("start_from auto: no style that ships has this network; the weights are drawn from the seed")
        return replace(job, recipe=replace(job.recipe, start_from=None))
    steps = steps_of(job.recipe.iterations)
    trial = _trial(job, steps)
    photos = list(islice(supply.of_job(trial), steps))  # the same for each
    with tqdm(
        total=len(found) * steps, desc="begin with", unit="step", leave=False, disable=job.processes.rank > 0
    ) as bar:
        means = [_loss(_with(trial, style, start), photos, bar) for style, start in found.items()]
    job.processes.average(means)  # so that all choose the same
    losses = {style: mean.item() if mean.isfinite() else math.inf for style, mean in zip(found, means, strict=True)}
    ranked = sorted(losses, key=losses.__getitem__)
    told = ", ".join(f"{style.stem} {losses[style]:.3g}" for style in ranked)
    say(f"begun with {ranked[0].stem}, of all that ship the best after {steps} steps: a loss of {told}")
    start = found[ranked[0]]
    say_what_differs(start, job.recipe, say)
    return _with(job, ranked[0], start)


def steps_of(iterations: int) -> int:
    """Of each trial, for a run of so many."""
    return max(1, min(MOST, iterations // SHARE))


def _fitting(job: Job, say: Callable[[str], None]) -> dict[Path, dict[str, Any]]:
    """The styles that ship and have this job's network and kind, and what `job.beginning` gives of each."""
    found = {}
    for path in styles.shipped() if job.photos else styles.textures():
        try:
            if not paints_alone(path):  # a run of the user's own: no other one's should depend on it
                continue
            found[path] = beginning(path, {name: getattr(job.recipe, name) for name in SHAPES}, bool(job.photos))
        except CheckpointError as error:
            say(f"left out of the trials: {error}")
        except ValueError:  # of another network
            continue
    return found


def _with(job: Job, style: Path, start: dict[str, Any]) -> Job:
    recipe = replace(job.recipe, start_from=style.stem, **start["shape"])
    return replace(job, recipe=recipe, start_weights=start["weights"], started_from=start["started_from"])


def _trial(job: Job, steps: int) -> Job:
    """The job as a trial takes it, in each process by itself."""
    recipe = replace(
        job.recipe,
        iterations=steps,
        image_size=min(SIDE, job.recipe.image_size),
        grow_from=None,
        batch_size=1,
        diversity_weight=0.0,
        stability_weight=0.0,
    )
    return replace(job, recipe=recipe, run=replace(job.run, workers=0), processes=ALONE)


def _loss(trial: Job, photos: list[Tensor | None], bar: Any) -> Tensor:
    """Mean over the second half of a trial, a scalar on the device."""
    learner = Learner(trial)
    losses = []
    for photo in photos:
        losses.append(learner.step(photo)["total"])
        bar.update()
    return torch.stack(losses[len(losses) // 2 :]).mean()
