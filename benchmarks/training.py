"""A training step: the product's `Learner`, a plain script with the same network and loss, one with Johnson's network.

With an encoder of VGG19's size (random weights do for timing) and with `lite`, which is there so that nobody needs
VGG19: so ours with `lite` is timed against the plain script with VGG19 too. Photos lie on the device already.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import limits, plain
from benchmarks.cells import Cell
from benchmarks.stylization import MASKED_UP_TO, mask_bf16, takes_bf16
from benchmarks.timing import Contender, Run
from texturenet import config
from texturenet.job import Job
from texturenet.learner import Learner
from texturenet.pages import keep_heap
from texturenet.perceptual import Encoder, load_encoder, random_encoder
from texturenet.presets import ON_LITE
from texturenet.processes import ALONE

ENCODERS = tuple(plain.VGG)
WITH_VGG19 = "plain with vgg19"  # the contender that `lite` spares its user
# Bytes a pixel of the batch at the peak of a step, by encoder; measured on the CPU at 256 px.
_NEEDED = {"vgg19": 8000, "lite": 7000}
# Floating-point operations that a cell's rounds come to.
_WORTH = 1.5e12
_LEAST_ROUNDS, _MOST_ROUNDS = 2, 12


def recipe(encoder: str, size: int, batch: int, **others: object) -> config.Recipe:
    """train.py's defaults, with what `job.prepare` fills in for a pyramid on photos, but the plain script's.

    Those are its slope and its optimizer: train.py's own takes 2 to 4 ms more a step on one core of an EPYC.
    """
    of_plain = {"optimizer": "adam", "slope": 0.01}
    sizes = {"image_size": size, "batch_size": batch, "width": 8}
    resolved: dict[str, Any] = {"perceptual": encoder, "padding": "reflect"} | of_plain | sizes
    of_lite = ON_LITE[None] if encoder == "lite" else {}
    return config.Recipe(**resolved | of_lite | others)


def job(recipe: config.Recipe, encoder: Encoder, texture: Tensor, device: torch.device) -> Job:
    """What `train.py` makes of its flags, without files."""
    photos = (Path("photos"),)  # of which `Learner` only asks whether there are any
    return Job(recipe, config.Run(), "benchmark", texture, photos, (), encoder, device, None, [], ALONE)


def encoder(name: str) -> Encoder:
    """`lite` as it ships. VGG19 with random weights, at which activations keep their size from layer to layer."""
    if name == "lite":
        return load_encoder(name)
    torch.manual_seed(0)
    found = random_encoder(name)
    for layer in found.chain.values():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return found


def plain_loss(encoder: Encoder, texture: Tensor, recipe: config.Recipe, device: torch.device) -> plain.Loss:
    """The plain loss with the weights of one of our encoders."""
    vgg = plain.Vgg(encoder.name)
    vgg.chain.load_state_dict(encoder.chain.state_dict())
    return plain.Loss(vgg.to(device), texture.to(device), recipe)


def contenders(name: str, size: int, batch: int, device: torch.device) -> list[Contender]:
    """Ours first; without bf16 too, where it takes it on a CPU and the pictures are small."""
    needed = _NEEDED[name] * batch * size**2
    found = [Contender("ours", partial(ours, name, size, batch, device), needed)]
    if takes_bf16(device) and size < MASKED_UP_TO:
        found.append(Contender("ours without bf16", partial(ours, name, size, batch, device, masked=True), needed))
    found += [Contender(net, partial(baseline, net, name, size, batch, device), needed) for net in plain.NETWORKS]
    if name == "lite":
        larger = _NEEDED["vgg19"] * batch * size**2
        found.append(Contender(WITH_VGG19, partial(baseline, "plain", "vgg19", size, batch, device), larger))
    return found


def ours(name: str, size: int, batch: int, device: torch.device, *, masked: bool = False) -> Run:
    """`Learner.step`, as the loop of train.py takes it."""
    if masked:
        mask_bf16()
    keep_heap()  # as train.py does
    photo = _pictures(size, batch).to(device)
    if device.type == "cuda":
        photo = photo.contiguous(memory_format=torch.channels_last)  # as trainer.py hands them over
    learner = Learner(job(recipe(name, size, batch), encoder(name), _pictures(size, 1), device))
    return lambda: learner.step(photo)


def baseline(net: str, name: str, size: int, batch: int, device: torch.device) -> Run:
    """A step of `plain.Training`."""
    photo, numbers = _pictures(size, batch).to(device), recipe(name, size, batch)
    loss = plain_loss(encoder(name), _pictures(size, 1), numbers, device)
    training = plain.Training(plain.NETWORKS[net]().to(device), loss, numbers)
    return lambda: training.step(photo)


def _pictures(size: int, batch: int) -> Tensor:
    return torch.rand((batch, 3, size, size), generator=torch.Generator().manual_seed(0))


def rounds(work: limits.Work) -> int:
    """How often a cell is timed, unless the user says it."""
    return min(max(round(_WORTH / work.flops), _LEAST_ROUNDS), _MOST_ROUNDS)


def works(name: str, size: int, batch: int) -> dict[str, limits.Work]:
    """Of a step of each contender that is not ours, without Adam's few operations."""
    with torch.device("meta"):
        vgg, photo = plain.Vgg(name), torch.empty((batch, 3, size, size))
        loss = plain.Loss(
            vgg, photo[:1], recipe(name, size, batch, content_colors="photo")
        )  # no operations to speak of
        nets = {net: kind() for net, kind in plain.NETWORKS.items()}

    def step(net: plain.Pyramid | plain.Johnson) -> None:
        loss(net(photo), photo).backward()  # type: ignore[no-untyped-call]

    found = {net: limits.work(partial(step, module)) for net, module in nets.items()}
    return found | ({WITH_VGG19: works("vgg19", size, batch)["plain"]} if name == "lite" else {})


def cells(
    encoders: Sequence[str], sizes: Sequence[int], batch: int, times: int | None, device: torch.device
) -> list[Cell]:
    """Every encoder at every size of the crops; `times` None: see `rounds`."""
    found = []
    for name in encoders:
        for size in sizes:
            needed = works(name, size, batch)
            running = contenders(name, size, batch, device)
            row = f"{name}, {size}x{size}"
            found.append(Cell(row, batch, batch * size**2, running, needed, times or rounds(needed["plain"])))
    return found
