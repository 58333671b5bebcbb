"""The training loop of the classifier that `lite` is taken from: SGD along one cycle, resumed to the bit.

Everything random in step t is a function of (seed, t) alone, so a resumed run is the same run, on the same machine:
what its file holds is weights, momentum and t.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from texturenet import labelled, torchfile
from texturenet.adversarial import perturbed
from texturenet.classifier import NAME, Classifier, unfold
from texturenet.config import PretrainRecipe, to_plain
from texturenet.devices import place, resolve_precision
from texturenet.labelled import Labelled
from texturenet.monitor import Listener, StepEvent
from texturenet.perceptual import load_encoder

WARMUP = 0.3  # share of the steps in which the learning rate rises
LOG_EVERY = 10  # steps
SAVE_EVERY = 50  # steps: about a minute on two cores


def train(
    recipe: PretrainRecipe,
    pictures: Labelled,
    device: torch.device,
    path: Path,
    precision: str = "auto",
    workers: int = 0,
    listeners: Sequence[Listener] = (),
    say: Callable[[str], None] = print,
    resumed: dict[str, Any] | None = None,
) -> Classifier:
    """Train to the end of the recipe, from where `resumed` (of `load_run`) stood; the classifier is on the CPU.

    path  the run's file, written before the first step, every `SAVE_EVERY` steps and at the end
    say   receives the validation accuracy after each epoch
    Raises ValueError for a loss that is not finite, OSError where the file can't be written.
    """
    dtype = resolve_precision(precision, device)
    chosen, held_out = labelled.split(len(pictures.labels), recipe.held_out, recipe.seed)
    batches = labelled.Batches(pictures, chosen, recipe.batch_size, recipe.image_sizes, recipe.crop, recipe.seed)
    steps, start = step_count(recipe, pictures), resumed["step"] if resumed else 0
    epoch = steps // recipe.epochs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed % 2**64)
        classifier = place(Classifier(len(pictures.classes), recipe.dropout), device).train()
        optimizer = torch.optim.SGD(_groups(classifier, recipe), lr=0.1, momentum=recipe.momentum, nesterov=True)
        scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        if resumed:
            classifier.load_state_dict(resumed["weights"])
            optimizer.load_state_dict(resumed["optimizer"])
            if resumed["scaler"]:  # none was needed by a run in another precision
                scaler.load_state_dict(resumed["scaler"])
        elif recipe.start_from is not None:
            encoder = place(load_encoder(NAME, recipe.start_from), device)
            crops, _ = next(labelled.loaded(batches, 0, 1, 0))
            unfold(classifier, encoder, _to_network(crops, device))

        scores = partial(_scores, classifier, dtype=dtype)

        def keep(step: int) -> None:
            fields = {
                "recipe": to_plain(recipe),
                "pictures": pictures.fingerprint,
                "step": step,
                "weights": classifier.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
            }
            torchfile.write(path, fields)

        if not resumed:
            keep(0)  # a folder that can't be written to is found now
        began, seen, waited, asked = time.perf_counter(), start, 0.0, time.perf_counter()
        for step, (crops, labels) in enumerate(labelled.loaded(batches, start, steps, workers), start):
            waited += time.perf_counter() - asked
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, steps)
            torch.manual_seed((recipe.seed * steps + step) % 2**64)  # of the dropout
            shown, labels = _to_network(crops, device), labels.to(device)
            # In full from the first step, and it would learn nothing.
            if radius := recipe.attack / 255 * min(1, step / (WARMUP * steps)):
                shown = perturbed(scores, shown, labels, radius)
            loss = functional.cross_entropy(scores(shown), labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()

            done = step + 1
            saving, validating = done == steps or done % SAVE_EVERY == 0, done % epoch == 0
            if saving or validating or done % LOG_EVERY == 0 or done == 1:
                losses = {"total": loss.item()}
                if not math.isfinite(losses["total"]):
                    raise ValueError(f"step {done}: the loss is not finite; try a lower --learning_rate")
                now = time.perf_counter()
                speed, wait = (done - seen) * recipe.batch_size / (now - began), waited / (now - began)
                if validating:
                    right = accuracy(classifier, pictures, held_out, max(recipe.image_sizes), device, dtype)
                    losses["accuracy"] = right
                    say(f"epoch {done // epoch}/{recipe.epochs}: {right:.1%} of {len(held_out)} held-out ones right")
                event = StepEvent(done, steps, losses, speed, wait, learning_rate(recipe, step, steps))
                for listener in listeners:
                    listener.on_step(event)
                began, seen, waited = time.perf_counter(), done, 0.0
            if saving:
                keep(done)
            asked = time.perf_counter()
    return classifier.cpu().eval()


def step_count(recipe: PretrainRecipe, pictures: Labelled) -> int:
    """Steps of the whole run; an epoch has as many whole batches as its pictures fill, one at least."""
    return recipe.epochs * max(1, (len(pictures.labels) - recipe.held_out) // recipe.batch_size)


def learning_rate(recipe: PretrainRecipe, step: int, steps: int) -> float:
    """Of the step after `step` of `steps`: one cycle (Smith 2018, arXiv 1803.09820), up in a line, down in a cosine."""
    top = WARMUP * steps
    if step < top:
        return recipe.learning_rate * (step + 1) / (math.floor(top) + 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - top) / (steps - top)))


@torch.no_grad()
def accuracy(
    classifier: Classifier, pictures: Labelled, numbers: np.ndarray, size: int, device: torch.device, dtype: torch.dtype
) -> float:
    """Share of the pictures `numbers`, their middles at `size` px, whose class gets the highest score."""
    training = classifier.training
    classifier.eval()
    right, count = 0, 0
    for crops, labels in labelled.validation(pictures, numbers, 128, size):
        scores = _scores(classifier, _to_network(crops, device), dtype)
        right += int((scores.argmax(1).cpu() == labels).sum())
        count += len(labels)
    classifier.train(training)
    return right / max(count, 1)


def _scores(classifier: Classifier, shown: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, 3, S, S) -> float32 (B, classes), computed in `dtype`."""
    with torch.autocast(shown.device.type, dtype, enabled=dtype != torch.float32):
        scores: Tensor = classifier(shown)
    return scores.float()


def _to_network(crops: Tensor, device: torch.device) -> Tensor:
    """uint8 (B, 3, S, S) -> float32 in [0, 1]."""
    return crops.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)


def _groups(classifier: Classifier, recipe: PretrainRecipe) -> list[dict[str, Any]]:
    parameters = list(classifier.parameters())
    return [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [value for value in parameters if value.ndim == 1], "weight_decay": 0.0},
    ]


def load_run(path: Path, recipe: PretrainRecipe, pictures: Labelled) -> dict[str, Any] | None:
    """The file of a run that stopped, or None where there is none. Raises ValueError for another run's file."""
    if not path.exists():
        return None
    way_out = "give another -o, or delete it to start anew"
    try:
        fields: dict[str, Any] = torchfile.read(path)
        before, pictures_before = dict(fields["recipe"]), fields["pictures"]
    except (ValueError, TypeError, KeyError, OSError):
        raise ValueError(f"{path} is not the file of a run; {way_out}") from None
    now = to_plain(recipe)
    changed = [f"{name} ({before.get(name)} before, {now[name]} now)" for name in now if before.get(name) != now[name]]
    if changed:
        raise ValueError(f"{path} is of a run with another {', '.join(changed)}; type what it had, or {way_out}")
    if pictures_before != pictures.fingerprint:
        raise ValueError(f"{path} is of a run with other pictures; {way_out}")
    return fields
