"""A picture from tensor to tensor: ours, the same network in a plain script, Johnson's network in one.

Ours is what `stylize.py` does with each file: the public `Stylizer`, one picture after the other, whatever the batch.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import limits, plain
from benchmarks.cells import Cell
from benchmarks.timing import Contender, Run
from texturenet import checkpoint
from texturenet.config import Recipe, to_plain
from texturenet.devices import resolve_precision
from texturenet.generators import Pyramid, make_noise
from texturenet.pages import keep_heap
from texturenet.stylizer import Stylizer

NAMED_SIZES = {"1080p": (1080, 1920), "4k": (2160, 3840)}
SMALLEST = 64  # px a side, for the plain pyramid's reflection
# Bytes a pixel at the peak of the plain networks, measured on the CPU from 256 to 1024 px.
_NEEDED = {"plain": 1300, "Johnson": 1300}
# Megapixels that a cell's rounds come to; few and long rounds for the large.
_WORTH = 4.0
_LEAST_ROUNDS, _MOST_ROUNDS = 2, 12
# Px a side up to which ours is timed without bf16 too.
MASKED_UP_TO = 512


def parse_size(text: str) -> tuple[int, int]:
    """ "512" -> (512, 512), "1080p" and "4k" by name, "640x480" -> (480, 640). ValueError, one line."""
    if text.lower() in NAMED_SIZES:
        return NAMED_SIZES[text.lower()]
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if not match:
        raise ValueError(f"{text!r} is no size; give px, WIDTHxHEIGHT, {' or '.join(NAMED_SIZES)}")
    height, width = int(match[2] or match[1]), int(match[1])
    if min(height, width) < SMALLEST or height % 4 or width % 4:
        raise ValueError(f"{text}: give multiples of 4 px (Johnson's network takes no others), {SMALLEST} or more")
    return height, width


def rounds(height: int, width: int, batch: int) -> int:
    """How often a cell is timed, unless the user says it."""
    return min(max(round(_WORTH / (batch * height * width / 1e6)), _LEAST_ROUNDS), _MOST_ROUNDS)


def write_style(path: Path) -> None:
    """A checkpoint of the pyramid with random weights: what is timed does not depend on them."""
    torch.manual_seed(0)
    checkpoint.save(
        path,
        name="benchmark",
        generator={"name": "pyramid", "options": {"upsampling": "bilinear"}},
        weights=Pyramid().state_dict(),
        recipe=to_plain(Recipe()),
        perceptual={"name": "lite", "source": "none"},
        step=0,
    )


def contenders(style: Path, height: int, width: int, batch: int, device: torch.device) -> list[Contender]:
    """Ours first; without bf16 too, where it takes it on a CPU and the pictures are small."""
    pixels = batch * height * width
    found = [Contender("ours", partial(ours, style, height, width, batch, device))]
    if takes_bf16(device) and max(height, width) <= MASKED_UP_TO and batch == 1:
        found.append(Contender("ours without bf16", partial(ours, style, height, width, batch, device, masked=True)))
    for name, needed in _NEEDED.items():
        found.append(Contender(name, partial(baseline, name, height, width, batch, device), needed * pixels))
    return found


def takes_bf16(device: torch.device) -> bool:
    """Whether it is a CPU on which ours computes in bf16."""
    return device.type == "cpu" and resolve_precision("auto", device) == torch.bfloat16


def mask_bf16() -> None:
    """Make this process believe that its CPU has none."""
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_amx_fp16_supported"):
        setattr(torch.cpu, name, lambda: False)


def ours(style: Path, height: int, width: int, batch: int, device: torch.device, *, masked: bool = False) -> Run:
    """The public entry point, picture by picture."""
    if masked:
        mask_bf16()
    keep_heap(of_any_size=False)  # as stylize.py does
    stylizer, photos = Stylizer(style, device), _photos(height, width, batch)
    seeds = itertools.count()  # a GPU has the noise of the last one at hand, and the others draw theirs
    return lambda: [stylizer(photo[None], seed=next(seeds)) for photo in photos]


def baseline(name: str, height: int, width: int, batch: int, device: torch.device) -> Run:
    """A network of `plain`, by its name there, the whole batch at once."""
    net, photos = plain.NETWORKS[name]().to(device).eval(), _photos(height, width, batch)

    @torch.no_grad()
    def paint() -> Tensor:
        picture: Tensor = net(photos.to(device)).cpu()
        return picture

    return paint


def _photos(height: int, width: int, batch: int) -> Tensor:
    return torch.rand((batch, 3, height, width), generator=torch.Generator().manual_seed(0))


def works(height: int, width: int, batch: int) -> dict[str, limits.Work]:
    """Of each of the two networks."""

    def of(name: str) -> Callable[[], Tensor]:
        with torch.device("meta"):
            net = plain.NETWORKS[name]()
        photo = torch.empty((batch, 3, height, width), device="meta")
        return lambda: net(photo)

    with torch.no_grad():
        return {name: limits.work(of(name)) for name in plain.NETWORKS}


@torch.no_grad()
def difference(style: Path, size: tuple[int, int], device: torch.device) -> dict[str, float]:
    """Of a picture of ours from the plain network's, same weights and noise: greatest and mean, values in [0, 1]."""
    height, width = size
    photo = _photos(height, width, 1)
    generator = checkpoint.build_generator(checkpoint.load(style))
    net = plain.Pyramid().to(device)
    net.load_state_dict(generator.state_dict())
    noise = make_noise(generator, 1, height, width, 0, device=device)
    picture = net(photo.to(device), noise).cpu()
    painting: Tensor = Stylizer(style, device)(photo, seed=0)
    apart = (painting - picture).abs()
    return {"greatest": apart.max().item(), "mean": apart.mean().item()}


def cells(
    style: Path,
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    times: int | None,
    device: torch.device,
) -> list[Cell]:
    """Every size (h, w) in every batch, small before large; `times` None: see `rounds`."""
    return [
        Cell(
            f"{width}x{height}",
            batch,
            batch * height * width,
            contenders(style, height, width, batch, device),
            works(height, width, batch),
            times or rounds(height, width, batch),
        )
        for batch in batches
        for height, width in sorted(sizes, key=lambda size: size[0] * size[1])
    ]
