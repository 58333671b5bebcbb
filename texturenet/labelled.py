"""Pictures with a class each, and endless batches of them that can be repeated exactly.

They come from a folder of class folders, as ImageNet's, or from one .npz of many small JPEGs: `jpeg` uint8, the files
end to end, `offset` (N + 1) where they are cut, `label` (N) and `wnid`, the classes' names.

The batch of step t is a pure function of (seed, t), and every picture of it has a crop and a flip of its own.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from texturenet import data, images
from texturenet.files import find_images

TRIES = 10  # pictures in a row that may be broken before the run gives up
SMALLEST = 16  # px: relu5_1 is then one position


@dataclass(frozen=True)
class Labelled:
    """N pictures, each of one class."""

    classes: tuple[str, ...]
    labels: np.ndarray  # (N,) int64, indices of `classes`
    open: Callable[[int, int], Image.Image]  # (number, shorter side that is enough, px) -> mode RGB, or ValueError

    @property
    def fingerprint(self) -> str:
        """Equal for equal classes and labels, in the same order."""
        text = "\n".join(self.classes).encode() + self.labels.tobytes()
        return hashlib.sha256(text).hexdigest()[:16]


def open_labelled(path: Path) -> Labelled:
    """A folder of class folders (pictures below each, however deep), or an .npz. Raises ValueError, one line."""
    found = _class_folders(path) if path.is_dir() else _archive(path)
    if len(found.classes) < 2:
        raise ValueError(f"{path}: {len(found.classes)} class with pictures; a classifier tells two or more apart")
    return found


def split(count: int, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the pictures (to train on, to validate on), drawn from the seed. Raises ValueError."""
    if held_out > count // 2:
        raise ValueError(f"--held_out {held_out} of {count} pictures leaves too few to train on; give {count // 2}")
    order = np.random.default_rng((seed, 0)).permutation(count)
    return order[held_out:], order[:held_out]


class Batches(Dataset["tuple[Tensor, Tensor] | ValueError"]):
    """Item t is step t's batch: pictures uint8 (B, 3, S, S) in 0..255 and labels (B,).

    numbers  of the pictures; each is seen once an epoch, and epochs follow one another without a cut batch
    sizes    S is one of these, drawn for each step
    crop     the crop's side is `crop` to 1 times the picture's shorter side, uniformly at random; half are mirrored
    A picture that can't be read gives way to the next of its epoch, with one line on stderr.
    """

    def __init__(
        self, pictures: Labelled, numbers: np.ndarray, batch_size: int, sizes: Sequence[int], crop: float, seed: int
    ) -> None:
        if not 0 < crop <= 1 or min(sizes) < SMALLEST:
            raise ValueError(f"crop {crop}, image_sizes {min(sizes)}: give a share in 0..1, and {SMALLEST} px or more")
        self.pictures, self.numbers, self.batch_size = pictures, numbers, batch_size
        self.sizes, self.crop, self.seed = tuple(sizes), crop, seed
        self._order: tuple[int, np.ndarray] = (-1, numbers)  # the epoch drawn last, and its numbers in their order

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor] | ValueError:
        size = self.sizes[np.random.default_rng((self.seed, 1, step)).integers(len(self.sizes))]
        try:
            items = [self._item(step * self.batch_size + i, size) for i in range(self.batch_size)]
        except ValueError as error:  # raised in a worker, it would arrive as a page of traceback
            return ValueError(str(error))
        return torch.stack([crop for crop, _ in items]), torch.tensor([label for _, label in items])

    def _item(self, n: int, size: int) -> tuple[Tensor, int]:
        epoch, place = divmod(n, len(self.numbers))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, 2, epoch)).permutation(self.numbers))
        for i in range(TRIES):
            number = int(self._order[1][(place + i) % len(self.numbers)])
            try:
                picture = self.pictures.open(number, round(size / self.crop))
            except ValueError as error:
                print(f"the next picture takes its place: {error}", file=sys.stderr)
                last = error
                continue
            return self._crop(picture, size, n), int(self.pictures.labels[number])
        raise ValueError(f"{TRIES} pictures in a row could not be read, the last: {last}")

    def _crop(self, picture: Image.Image, size: int, n: int) -> Tensor:
        draw = np.random.default_rng((self.seed, 3, n)).random(4)
        side = min(picture.size) * (self.crop + (1 - self.crop) * draw[0])
        crop = _square(picture, size, side, draw[1], draw[2])
        return images.to_uint8(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw[3] < 0.5 else crop)


def loaded(batches: Batches, first: int, last: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of steps `first` to `last` - 1; `workers` processes read ahead (0: none).

    Raises ValueError, and `data.ReaderDied` where one of these was killed.
    """
    loader = data.Loader[tuple[Tensor, Tensor]](batches, workers, batch_size=None, sampler=range(first, last))
    return data.checked(loader)


def validation(pictures: Labelled, numbers: np.ndarray, batch_size: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every picture of `numbers` once, the square in its middle; a broken one is left out."""
    for start in range(0, len(numbers), batch_size):
        crops, labels = [], []
        for number in map(int, numbers[start : start + batch_size]):
            try:
                picture = pictures.open(number, size)
            except ValueError as error:
                print(f"not validated on: {error}", file=sys.stderr)
                continue
            crops.append(images.to_uint8(_square(picture, size, min(picture.size), 0.5, 0.5)))
            labels.append(int(pictures.labels[number]))
        if crops:
            yield torch.stack(crops), torch.tensor(labels)


def _square(picture: Image.Image, size: int, side: float, x: float, y: float) -> Image.Image:
    """The square of `side` px at the shares x, y of the room that it has, resampled to `size` px."""
    left, top = x * (picture.width - side), y * (picture.height - side)
    box = (left, top, min(left + side, picture.width), min(top + side, picture.height))
    return picture.resize((size, size), Image.Resampling.BICUBIC, box=box)


# ----------------------------------------------------------------------------------------------------------- sources


def _class_folders(root: Path) -> Labelled:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {folder.name: find_images(folder) for folder in folders}
    found = {name: paths for name, paths in found.items() if paths}
    if not found:
        raise ValueError(f"{root}: no folder with pictures in it; --data names a folder of class folders, or an .npz")
    labels = np.repeat(np.arange(len(found)), [len(paths) for paths in found.values()])
    return Labelled(tuple(found), labels, partial(_open_file, [path for paths in found.values() for path in paths]))


def _open_file(paths: Sequence[Path], number: int, shorter_side: int) -> Image.Image:
    return images.open_image(paths[number], shorter_side=shorter_side)


def _archive(path: Path) -> Labelled:
    try:
        with np.load(path) as file:
            jpeg, offset, label, names = (file[name] for name in ("jpeg", "offset", "label", "wnid"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; --data names a folder of class folders, or an .npz") from None
    except KeyError as error:
        raise ValueError(f"{path}: no {error.args[0].split()[0]} in it; it needs jpeg, offset, label, wnid") from None
    except Exception:  # a damaged archive makes the readers of zip and of numpy raise nearly anything
        raise ValueError(f"{path} is no .npz of pictures; --data names a folder of class folders, or an .npz") from None
    count = len(label)
    if (
        len(offset) != count + 1
        or offset[-1] > len(jpeg)
        or not count
        or not 0 <= label.min() <= label.max() < len(names)
    ):
        raise ValueError(f"{path}: its jpeg, offset, label and wnid don't fit each other; download it again")
    return Labelled(tuple(map(str, names)), label.astype(np.int64), partial(_open_jpeg, path, jpeg, offset))


def _open_jpeg(path: Path, jpeg: np.ndarray, offset: np.ndarray, number: int, shorter_side: int) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(jpeg[offset[number] : offset[number + 1]].tobytes()), formats=("JPEG",))
        picture.draft("RGB", (shorter_side, shorter_side))
        return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: picture {number} is broken ({error})") from None
