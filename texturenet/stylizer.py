"""Pictures through one trained generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from texturenet import checkpoint, images
from texturenet.devices import free_memory, place
from texturenet.generators import make_noise

OUTPUT_DIR = Path("stylized")
# Peak memory of one float32 pass, in maps of the last layer's size: measured 6.5 for the pyramid (1.2 kB a pixel) and
# 7.9 for the residual network (1.0 kB), at 1024 and 2048 px.
_MAPS_ALIVE = 8


class Stylizer:
    """One style, loaded from its checkpoint alone.

    path    a checkpoint of `train.py`
    device  where to run
    Raises checkpoint.CheckpointError for a file that is none.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        fields = checkpoint.load(path)
        self.name: str = fields["name"]
        self.recipe: dict[str, object] = fields["recipe"]
        self.device = torch.device(device)
        self.generator = place(checkpoint.build_generator(fields), self.device)
        self.trained_noise_factor = float(fields["recipe"]["noise_factor"])

    @property
    def paints_photos(self) -> bool:
        """Whether it stylizes photos; else it synthesises its texture."""
        return self.generator.content

    def __call__(self, photo: Tensor, seed: int = 0, noise_factor: float | None = None) -> Tensor:
        """Stylize (1, 3, H, W) in [0, 1] into the same shape.

        seed          of the noise; the same seed gives the same picture
        noise_factor  None: as in training
        Raises ValueError for a picture under 16 px or over what memory holds.
        """
        height, width = photo.shape[-2:]
        return self._run(photo, height, width, seed, noise_factor)

    def synthesize(self, height: int, width: int, seed: int = 0, noise_factor: float | None = None) -> Tensor:
        """A picture (1, 3, height, width) of the texture itself; from a checkpoint that was trained without photos."""
        return self._run(None, height, width, seed, noise_factor)[..., :height, :width]

    @torch.inference_mode()
    def _run(self, photo: Tensor | None, height: int, width: int, seed: int, noise_factor: float | None) -> Tensor:
        self._require_memory(height, width)
        factor = self.trained_noise_factor if noise_factor is None else noise_factor
        noise = make_noise(self.generator, 1, height, width, seed, factor, self.device)
        picture = self.generator(None if photo is None else photo.to(self.device), noise)
        if not torch.isfinite(picture).all():
            raise ValueError(f"style {self.name!r} gives no finite picture: its weights are damaged; train it again")
        result: Tensor = picture.float().cpu()
        return result

    def _require_memory(self, height: int, width: int) -> None:
        free = free_memory(self.device)
        channels = self.generator.to_rgb.in_channels
        needed = _MAPS_ALIVE * channels * height * width * 4
        if free is not None and needed > 0.9 * free:
            longer = int(max(height, width) * (0.8 * free / needed) ** 0.5) // 32 * 32
            raise ValueError(
                f"a picture of {width}x{height} px takes about {needed / 2**30:.0f} GB and {free / 2**30:.0f} GB are "
                f"free on {self.device}; ask for a smaller result, --size {longer}"
            )


@dataclass(frozen=True)
class Work:
    """One picture to paint and where it goes."""

    source: Path
    target: Path


def plan(pictures: Sequence[Path], output: Path | None, style: str) -> list[Work]:
    """Where each result goes; folders are searched, and their tree is kept below the output folder.

    output  a file (one picture), a folder, or None: `stylized/`
    A result is called after its picture and the style, `amber-mosaic.jpg`. Raises ValueError for an empty folder, for
    one output file for several pictures, or where a result would replace a source or another result.
    """
    single_file = output is not None and output.suffix.lower() in images.SAVE_FORMATS and not output.is_dir()
    folder = output if output is not None and not single_file else OUTPUT_DIR
    work = list(_plan_in(pictures, folder, style))
    if single_file:
        assert output is not None
        if len(work) != 1:
            raise ValueError(f"-o {output} is one file, but there are {len(work)} pictures; name a folder")
        work = [Work(work[0].source, output)]
    sources: dict[Path, Path] = {}
    for item in work:
        if (other := sources.setdefault(item.target, item.source)) != item.source:
            raise ValueError(f"{other} and {item.source} would both become {item.target}; paint them into two folders")
        if item.target.resolve() == item.source.resolve():
            raise ValueError(f"{item.target} would replace the picture itself; choose another -o")
    return work


def _plan_in(pictures: Sequence[Path], folder: Path, style: str) -> Iterator[Work]:
    def target(relative: Path) -> Path:
        suffix = relative.suffix if relative.suffix.lower() in images.SAVE_FORMATS else ".png"
        return folder / relative.parent / f"{relative.stem}-{style}{suffix}"

    for picture in pictures:
        if not picture.is_dir():
            yield Work(picture, target(Path(picture.name)))
            continue
        found = [path for path in images.find_images(picture) if folder.resolve() not in path.resolve().parents]
        if not found:
            raise ValueError(f"no pictures in {picture}")
        for path in found:
            yield Work(path, target(path.relative_to(picture)))
