"""The generator in training: one step of its optimizer down the objective, and all that such a step changes.

What a step does depends on that state, the recipe and the step's number alone. So whoever puts the state back, from a
checkpoint or from memory, gets the same run again.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenet import crops
from texturenet.config import STRENGTHS, Recipe
from texturenet.convolutions import Convolution
from texturenet.devices import out_of_memory, place, resolve_precision, room_left, used_memory
from texturenet.generators import GENERATORS, Generator
from texturenet.job import Job
from texturenet.losses import PerceptualLoss
from texturenet.monitor import notice
from texturenet.muon import Muon
from texturenet.objective import Objective
from texturenet.perceptual import Encoder

# What a step holds at its peak, over the last maps' channels and a picture's pixels: measured 28 to 30 with the pyramid
# and lite (8 and 16 channels a scale, bf16 and float32), 43 with the residual network.
_VALUES_ALIVE = 25
SMOOTHING = 0.02  # weight of the newest loss in the smoothed one: about the last fifty steps count


class OutOfMemory(ValueError):
    """A step does not fit the device's memory; the line says what does."""


def build(recipe: Recipe, content: bool) -> tuple[Generator, dict[str, Any]]:
    """A new generator, its weights drawn from the seed, and the checkpoint's `generator` field that rebuilds it."""
    options: dict[str, Any] = {
        "content": content,
        "width": recipe.width,
        "noise_channels": recipe.noise_channels,
        "normalization": recipe.normalization,
        "padding": recipe.padding,
        "slope": recipe.slope,
        "upsampling": recipe.upsampling,
    }
    if recipe.generator == "pyramid":
        options["scales"] = recipe.scales
        if recipe.noise_scales is not None:
            options["noise_scales"] = recipe.noise_scales
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed % 2**64)
        generator = GENERATORS[recipe.generator](**options)
    return generator, {"name": recipe.generator, "options": options}


def begin_with(generator: Generator, weights: dict[str, Tensor]) -> None:
    """Load the weights of a generator that may have noise at other scales, as `Pyramid.noise_scales` says.

    Noise maps come last of what a convolution sees. Those that this one lacks are left out; its own new ones are not
    heard yet.
    """
    own = generator.state_dict()
    fitted = {
        name: F.pad(weight, (0, 0, 0, 0, 0, own[name].shape[1] - weight.shape[1])) if weight.ndim == 4 else weight
        for name, weight in weights.items()
    }
    generator.load_state_dict(fitted)


def perceptual_loss(recipe: Recipe, encoder: Encoder, texture: Tensor, with_photos: bool) -> PerceptualLoss:
    """The loss that a recipe means; `with_photos` False: of a texture alone, without content terms."""
    content_weights = [weight * STRENGTHS[recipe.strength_preset] for weight in recipe.content_weights]
    return PerceptualLoss(
        encoder,
        texture,
        recipe.style_layers or encoder.style_layers,
        recipe.style_weights,
        (recipe.content_layers or encoder.content_layers) if with_photos else (),
        content_weights if with_photos else (),
        recipe.tv_weight,
        recipe.loss_scale,
        content_norm=recipe.content_norm,
        content_colors=recipe.content_colors,
    )


def optimizers(recipe: Recipe, generator: Generator) -> dict[str, torch.optim.Optimizer]:
    """One for each weight, by the names that a checkpoint has for their states.

    Muon, where the recipe has it, is for convolutions without a bias: a norm follows, which takes away a weight's size.
    """
    layers = [layer for layer in generator.modules() if isinstance(layer, Convolution) and layer.bias is None]
    matrices = [layer.weight for layer in layers] if recipe.optimizer == "muon" else []
    others = [weight for weight in generator.parameters() if all(weight is not matrix for matrix in matrices)]
    # All weights in one kernel where torch has one. The pyramid's 123 tensors on one core of a Xeon with AVX512: a
    # third of the time of torch's loop over them; on a GPU it also spares fp16's scaler a wait in every step.
    fused = others[0].device.type in ("cpu", "cuda") or None
    found: dict[str, torch.optim.Optimizer] = {
        "optimizer": torch.optim.Adam(others, lr=recipe.learning_rate, fused=fused)
    }
    return found | ({"muon": Muon(matrices, recipe.learning_rate)} if matrices else {})


def learning_rate(recipe: Recipe, step: int) -> float:
    """Of the step after `step` steps: a cosine from recipe.learning_rate to zero (Loshchilov and Hutter 2017)."""
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / recipe.iterations))


class Learner:
    """A job's generator, and the steps that train it.

    steps     taken so far
    seconds   that training took until its last save, without what came between two runs
    slowdown  what the recipe's learning rate is multiplied by, after a loss that was not finite
    smoothed  total loss, exponentially smoothed, a scalar on the device; None before the first step
    least     smoothed loss of the best checkpoint so far
    part      pictures that pass the networks at once
    """

    def __init__(self, job: Job) -> None:
        recipe, device = job.recipe, job.device
        self.recipe, self.device, self.processes = recipe, device, job.processes
        self.share = job.processes.share(recipe.batch_size)
        self.auto_batch = job.run.auto_batch
        self.dtype = resolve_precision(job.run.precision, device)
        generator, self.spec = build(recipe, content=bool(job.photos))
        if job.start_weights:
            begin_with(generator, job.start_weights)
        self.generator = place(generator, device).train()
        self.optimizers = optimizers(recipe, self.generator)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.steps, self.seconds, self.slowdown, self.least = 0, 0.0, 1.0, math.inf
        self.smoothed: Tensor | None = None
        if job.resumed:
            self.restore({"weights": job.resumed["weights"], "step": job.resumed["step"], **job.resumed["training"]})

        encoder = place(job.encoder, device)
        encoder.chain.to(self.dtype)
        loss = perceptual_loss(recipe, encoder, job.texture.to(device), with_photos=bool(job.photos))
        self.objective = Objective(recipe, self.generator, self._paint, loss)
        self.part = self.share.stop - self.share.start
        if self.part % self.objective.smallest_part:
            raise ValueError(
                f"diversity_weight compares {self.objective.smallest_part} pictures at a time, and each of the "
                f"{job.processes.size} processes has {self.part}; take fewer processes or a larger batch_size"
            )

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self.slowdown * learning_rate(self.recipe, self.steps)

    def step(self, photo: Tensor | None) -> dict[str, Tensor]:
        """Take one step; returns the terms of the loss before it, scalars, of this process's share of the batch.

        photo  (share, 3, S, S) in [0, 1] on the device, or None
        """
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
        if 0 < self.steps == crops.small_steps(self.recipe):
            self.smoothed, self.least = None, math.inf  # losses of crops of another size are no better and no worse
        terms = self._gradients(photo)
        total = terms["total"].clone()
        gradients = [p.grad for p in self.generator.parameters() if p.grad is not None]
        self.processes.average([*gradients, total])
        for optimizer in self.optimizers.values():
            self.scaler.step(optimizer)
        self.scaler.update()
        before = total if self.smoothed is None else self.smoothed
        smoothed = torch.lerp(before, total, SMOOTHING)
        # One that overflows is a step that fp16's scaler leaves out, and is left out here too.
        self.smoothed = torch.where(smoothed.isfinite(), smoothed, torch.where(total.isfinite(), total, before))
        self.steps += 1
        return terms

    def _paint(self, photo: Tensor | None, noise: list[Tensor]) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            picture: Tensor = self.generator(photo, noise)
        return picture

    def _gradients(self, photo: Tensor | None) -> dict[str, Tensor]:
        """Forward and backward, in the largest parts that fit the memory. Raises OutOfMemory."""
        part = self.part
        while (terms := self._accumulated(photo, part)) is None:
            smaller = [size for size in range(1, part) if part % size == 0 and size % self.objective.smallest_part == 0]
            if not smaller:
                nor = f", nor do {part}" if part < self.part else ""
                raise OutOfMemory(f"{self._too_large(self.part)}{nor}; lower --image_size, width or scales")
            part = smaller[-1]
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        if part < self.part:
            if not self.auto_batch:
                raise OutOfMemory(
                    f"{self._too_large(self.part)}; {part} fit: give --batch_size {part * self.processes.size}, or "
                    f"--auto_batch to take the same steps in parts of {part}"
                )
            notice(f"{self._too_large(self.part)}; the same steps are taken in parts of {part}")
            self.part = part
        return terms

    def _too_large(self, pictures: int) -> str:
        each = "1 picture does" if pictures == 1 else f"{pictures} pictures at once do"
        return f"step {self.steps + 1}: {each} not fit the memory of {self.device}"

    def _surely_too_large(self, pictures: int) -> bool:
        """Whether a CPU's memory lacks what a step takes at least: Linux promises more, and kills who uses it."""
        if self.device.type != "cpu":
            return False
        values = pictures * crops.side(self.recipe, self.steps) ** 2 * self.generator.channels * _VALUES_ALIVE
        missing = values * self.dtype.itemsize - used_memory(self.device)
        if missing <= 0:  # as after the first step, whose memory is kept: what is free takes longer to be asked
            return False
        left = room_left(self.device, None)
        return left is not None and missing > left

    def _accumulated(self, photo: Tensor | None, part: int) -> dict[str, Tensor] | None:
        """Gradients of the share's mean loss, summed over its parts; None where the memory does not suffice."""
        if self._surely_too_large(part):
            return None
        self.generator.zero_grad(set_to_none=True)
        mean: dict[str, Tensor] = {}
        count = (self.share.stop - self.share.start) // part
        try:
            for start in range(0, count * part, part):
                some = None if photo is None else photo[start : start + part]
                first = self.share.start + start
                terms = self.objective(some, self.steps, slice(first, first + part))
                self.scaler.scale(terms["total"] / count).backward()
                for name, value in terms.items():
                    mean[name] = mean.get(name, 0) + value.detach() / count
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return None
        return mean

    def finite(self) -> bool:
        """Whether every weight is a finite number."""
        finite = [torch.isfinite(weight).all() for weight in self.generator.state_dict().values()]
        return bool(torch.stack(finite).all())  # waits for the device once

    def training(self) -> dict[str, Any]:
        """What a checkpoint holds beside weights and step, for `restore`."""
        return {
            **{name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scaler": self.scaler.state_dict(),
            "seconds": self.seconds,
            "slowdown": self.slowdown,
            "smoothed": None if self.smoothed is None else self.smoothed.item(),
            "least": self.least,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from "weights", "step" and what `training` gave."""
        self.generator.load_state_dict(state["weights"])
        for name, optimizer in self.optimizers.items():
            saved = state[name]
            # Fused as this device has it, and not that of where the state was saved.
            here = {option: optimizer.defaults[option] for option in {"fused"} & optimizer.defaults.keys()}
            optimizer.load_state_dict(saved | {"param_groups": [group | here for group in saved["param_groups"]]})
            for weight, moments in optimizer.state.items():
                # Adam's fused step goes through the memory of all in one order, whatever their strides; a checkpoint
                # has its tensors contiguous, and the weights are in channels_last.
                for moment, value in moments.items():
                    if value.shape == weight.shape:
                        moments[moment] = torch.empty_like(weight).copy_(value)
        if state["scaler"]:  # none was needed by a run in another precision
            self.scaler.load_state_dict(state["scaler"])
        self.steps, self.slowdown, self.least = state["step"], state.get("slowdown", 1.0), state.get("least", math.inf)
        self.seconds = state.get("seconds", 0.0)
        smoothed = state.get("smoothed")
        self.smoothed = None if smoothed is None else torch.tensor(smoothed, device=self.device)
