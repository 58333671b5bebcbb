"""Photos to train on: a COCO root or any folder of pictures -> endless batches that can be repeated exactly.

Item n of a run is a pure function of (seed, n): which photo, which crop, whether mirrored. So the batch of a step is
the same whatever the number of workers or processes, and a run that is resumed at a step goes on as if never stopped.
"""

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from texturenet import images
from texturenet.files import SUFFIXES, ImageError, find_images

Batch = TypeVar("Batch")
JITTERED = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
MAX_ZOOM = 1.5  # the crop is taken after the shorter side was made 1 to this many times as long as the crop
TRIES = 10  # photos in a row that may be unreadable before the run gives up
REPORTS = 5  # unreadable photos that are named, in summaries and in the middle of a run


class PhotosAway(OSError):
    """The photos are away all at once, as on a mount that was lost; they may come back."""


class ReaderDied(OSError):
    """A process that reads photos was killed, or crashed."""


@dataclass(frozen=True)
class PhotoIndex:
    """The photos of a data folder, in an order that does not change, and what was left out, with the reason."""

    paths: list[Path]
    skipped: list[tuple[Path, str]]


def find_photos(data_dir: str | Path, categories: Sequence[str] = (), min_size: int = 16) -> PhotoIndex:
    """Look for training photos whose shorter side has at least `min_size` pixels.

    A folder with annotations/instances_*train*.json and the picture folder of the same name is a COCO root;
    `categories` then keeps the photos that show at least one of them (none: all photos). Any other folder is searched
    for pictures through all its sub-folders, and the header of each is read.

    Raises ValueError, one line with the folder and the way out: missing, not a folder, unreadable, without a usable
    photo, an annotation file that is broken or without its pictures, a category that is unknown or asked of no COCO.
    """
    root = Path(data_dir)
    try:
        root.stat()
        annotations = _train_annotations(root)
    except OSError as error:
        find_images(root)  # the line for a folder that is missing or locked
        raise ValueError(f"{root}: could not be read: {error.strerror}") from error
    if annotations:
        index = _coco_photos(root, annotations, categories, min_size)
    elif categories:
        raise ValueError(
            f"{root}: categories ({', '.join(categories)}) need annotations/instances_train2017.json: "
            "name one, or leave the categories out"
        )
    else:
        index = _folder_photos(root, min_size)
    if not index.paths:
        why = f": {len(index.skipped)} left out, first {index.skipped[0][1]}" if index.skipped else ""
        raise ValueError(f"{root}: no usable photo{why}: name a folder with pictures or a COCO root")
    return index


def summary(index: PhotoIndex) -> list[str]:
    """What was found, in at most REPORTS + 2 lines."""
    lines = [f"found {len(index.paths)} pictures, skipped {len(index.skipped)}"]
    lines += [f"  skipped {reason}" for _, reason in index.skipped[:REPORTS]]
    if len(index.skipped) > REPORTS:
        lines.append(f"  ... and {len(index.skipped) - REPORTS} more")
    return lines


class Photos(Dataset[Tensor]):
    """Item n (any n >= 0) is a crop, uint8 (3, size, size) in 0..255: a pure function of (seed, n) and of the disk.

    Every photo is seen once an epoch, epoch e being the items e * N to (e + 1) * N - 1. The crop is what a square of
    `size` would show of the photo with its shorter side at 1 to MAX_ZOOM times `size`, uniformly at random, half of
    them mirrored; smaller photos are enlarged. A photo that cannot be read gives way to the next of its epoch. Where
    the photos are away all at once, none takes the place of another: PhotosAway is raised.

    first         (count, side) of the first items, crops of that side in place of `size`
    color_jitter  brightness, contrast and saturation of each crop are multiplied by 2 to powers drawn uniformly from
                  plus and minus so much
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: int,
        seed: int = 0,
        first: tuple[int, int] = (0, 0),
        color_jitter: float = 0.0,
    ) -> None:
        if not paths or size < 1 or seed < 0:
            raise ValueError(f"{len(paths)} photos, size {size}, seed {seed}: needs a photo, size >= 1 and seed >= 0")
        self.paths = list(paths)
        self.size, self.first, self.color_jitter = size, first, color_jitter
        self.seed = seed
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))  # the epoch drawn last, and its permutation (N,)
        # In shared memory, so that a broken file is reported by one worker and not by each.
        self._unreadable = torch.zeros(len(self.paths), dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def away(self) -> bool:
        """Whether none of a few photos, spread over all, is on the disk."""
        sample = self.paths[:: -(-len(self.paths) // TRIES)]
        return not any(map(os.path.exists, sample))  # os.path's: False for a mount that only answers with errors, too

    @property
    def unreadable(self) -> int:
        """How many different photos could not be read so far, over all workers."""
        return int(self._unreadable.sum())

    def __getitem__(self, n: int) -> Tensor:
        epoch, place = divmod(n, len(self.paths))
        order = self._permutation(epoch)
        tries = min(TRIES, len(self.paths))
        first: ImageError | None = None
        for i in range(tries):
            photo = int(order[(place + i) % len(self.paths)])
            for _ in range(2):  # a mount that was away for a moment must not change the run
                try:
                    return self._crop(self.paths[photo], n)
                except ImageError as error:
                    trouble = error
                if self.away:
                    raise PhotosAway(f"the photos are away, first {trouble}")
            first = first or trouble
            self._report(photo, trouble)
        raise ValueError(f"the last {tries} photos could not be read, first {first}: is the disk still there?")

    def _permutation(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(_mix(self.seed, 0, epoch))
            self._order = (epoch, torch.randperm(len(self.paths), generator=generator))
        return self._order[1]

    def _crop(self, path: Path, n: int) -> Tensor:
        size = self.first[1] if n < self.first[0] else self.size
        draw = np.random.default_rng(_mix(self.seed, 1, n)).random(4)
        zoom = 1 + (MAX_ZOOM - 1) * draw[0]
        photo = images.open_image(path, shorter_side=round(size * zoom))
        # Scaling and cropping in one: only the window, in pixels of the photo, is resampled.
        window = min(photo.size) / zoom
        left, top = draw[1] * (photo.width - window), draw[2] * (photo.height - window)
        box = (left, top, min(left + window, photo.width), min(top + window, photo.height))
        crop = photo.resize((size, size), Image.Resampling.BICUBIC, box=box)
        if self.color_jitter:
            powers = np.random.default_rng(_mix(self.seed, 2, n)).uniform(-1, 1, 3) * self.color_jitter
            for enhance, power in zip(JITTERED, powers.tolist(), strict=True):
                crop = enhance(crop).enhance(2**power)
        return images.to_uint8(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw[3] < 0.5 else crop)

    def _report(self, photo: int, error: ImageError) -> None:
        if self._unreadable[photo]:
            return
        self._unreadable[photo] = 1
        if self.unreadable <= REPORTS:
            print(f"unreadable photo, the next one takes its place: {error}", file=sys.stderr)
        elif self.unreadable == REPORTS + 1:
            print("more photos are unreadable; they are counted but no longer named", file=sys.stderr)


def batches(
    photos: Photos,
    batch_size: int,
    start_step: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Tensor]:
    """Endless batches, uint8 (batch_size / world_size, 3, S, S) in 0..255 on the CPU, from step `start_step` on.

    `batch_size` counts all processes together: process `rank` of `world_size` gets its slice of the same batch.
    `workers`: processes that read ahead (0: none, in this one); the batches do not depend on it.
    Raises, while a batch is awaited, ValueError when too many photos in a row cannot be read, PhotosAway, and
    ReaderDied when a worker is killed; ValueError at once when `batch_size` cannot be shared out evenly.
    """
    if batch_size < 1 or batch_size % world_size or not 0 <= rank < world_size:
        raise ValueError(
            f"batch_size {batch_size} over {world_size} processes (this one is {rank}): "
            f"take a multiple of {world_size}, at least {world_size}"
        )
    share = batch_size // world_size
    steps = _Steps(start_step * batch_size + rank * share, share, batch_size)
    loader = Loader[Tensor](_Excusing(photos), workers, batch_sampler=steps, collate_fn=_stack, pin_memory=pin_memory)
    return checked(loader)


class Loader(DataLoader[Batch | ValueError | PhotosAway]):
    """torch's, with `workers` processes that leave Ctrl-C to the training; `options` are torch's."""

    def __init__(self, dataset: Dataset[Any], workers: int, **options: Any) -> None:
        # Without a generator of its own the loader would draw from, and so change, the global one.
        super().__init__(
            dataset, num_workers=workers, worker_init_fn=_start_worker, generator=torch.Generator(), **options
        )

    def check_worker_number_rationality(self) -> None:
        """Torch warns of more workers than cores, twice. What counts is whether training waits, which is shown."""


def _take_torchs_handler_off() -> None:
    """Torch's handler raises at whatever line is being run when a worker dies, in the middle of an optimizer step too.

    Without it the death is noticed within seconds where a batch is awaited. Torch sets it once in a process, for any
    loader, and only in the main thread.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    torchs = str(getattr(handler, "__module__", "")).startswith("torch.")
    if torchs and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def checked(loader: Iterable[Batch | ValueError | PhotosAway]) -> Iterator[Batch]:
    """Its batches; raises here what went wrong in a worker, and ReaderDied where one was killed."""
    source = iter(loader)
    try:
        _take_torchs_handler_off()
        for batch in source:
            if isinstance(batch, ValueError | PhotosAway):
                raise batch
            yield batch
    except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
        # A worker that dies while it hands a batch over leaves a broken socket behind.
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, RuntimeError) and "killed by signal" not in reason and "exited unexp" not in reason:
            raise
        raise ReaderDied(f"a process that reads photos died ({reason}): use fewer workers, or 0") from error
    finally:
        del source  # the error's traceback would keep it, and its workers, alive


class _Steps(Sampler[list[int]]):
    """The item numbers of one process, step after step without end."""

    def __init__(self, first: int, share: int, stride: int) -> None:
        self.first, self.share, self.stride = first, share, stride

    def __iter__(self) -> Iterator[list[int]]:
        first = self.first
        while True:
            yield list(range(first, first + self.share))
            first += self.stride


class _Excusing(Dataset["Tensor | ValueError | PhotosAway"]):
    """Hands an error over instead of raising it: raised in a worker it would arrive as a page of traceback."""

    def __init__(self, photos: Photos) -> None:
        self.photos = photos

    def __getitem__(self, n: int) -> Tensor | ValueError | PhotosAway:
        try:
            return self.photos[n]
        except ValueError as error:
            return ValueError(str(error))
        except PhotosAway as error:
            return error


def _stack(items: list[Tensor | ValueError | PhotosAway]) -> Tensor | ValueError | PhotosAway:
    for item in items:
        if isinstance(item, Exception):
            return item
    return torch.stack([item for item in items if isinstance(item, Tensor)])  # (B, 3, S, S)


def _start_worker(worker: int) -> None:  # noqa: ARG001
    # Ctrl-C reaches every process of the terminal. The parent alone acts on it: it saves, and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _mix(seed: int, purpose: int, n: int) -> int:
    """64 bits that differ for each triple and are unrelated for neighbours."""
    return int(np.random.SeedSequence((seed, purpose, n)).generate_state(1, np.uint64)[0])


# ----------------------------------------------------------------------------------------------- looking for photos


def _train_annotations(root: Path) -> list[Path]:
    """instances_*train*.json of a COCO root, 2017 before 2014 before others; empty: not a COCO root."""
    folder = root / "annotations"
    usual = ["instances_train2017.json", "instances_train2014.json"]
    others = sorted(path.name for path in folder.glob("instances_*train*.json") if path.name not in usual)
    return [folder / name for name in usual + others if (folder / name).is_file()]


def _coco_photos(root: Path, annotations: list[Path], categories: Sequence[str], min_size: int) -> PhotoIndex:
    names = [path.stem.removeprefix("instances_") for path in annotations]
    candidates = [
        (json, folder)
        for json, name in zip(annotations, names, strict=True)
        for folder in (root / name, root / "images" / name)
    ]
    json, folder = next(((json, folder) for json, folder in candidates if folder.is_dir()), (None, root))
    if json is None:
        raise ValueError(
            f"{root}: has annotations/{annotations[0].name} but no folder {names[0]}: unpack {names[0]}.zip there, "
            f"or name the folder that holds the pictures"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        from pycocotools.coco import COCO

        try:
            coco = COCO(str(json))
            if not coco.imgs:
                raise ValueError("it lists no pictures")
            known = {str(category["name"]): category["id"] for category in coco.cats.values()}
            photos = sorted(coco.imgs.items())
            sizes = {i: min(int(photo.get(side, min_size)) for side in ("width", "height")) for i, photo in photos}
            files = {i: folder / photo["file_name"] for i, photo in photos}
        except Exception as error:  # a damaged file makes pycocotools raise nearly anything
            raise ValueError(f"{json}: not a COCO annotation file ({error}): download or unpack it again") from error
    unknown = [name for name in categories if name not in known]
    if unknown:
        raise ValueError(f"unknown category {', '.join(unknown)}: {json} has {', '.join(sorted(known))}")
    wanted = {i for name in categories for i in coco.catToImgs[known[name]]} if categories else set(files)
    on_disk = {path.name for path in folder.iterdir()}  # one listing instead of a question for each of 118,000 files
    paths: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for i, path in files.items():
        if i not in wanted:
            continue
        if path.name not in on_disk and not path.is_file():
            skipped.append((path, f"{path}: named in {json.name} but not on disk"))
        elif sizes[i] < min_size:
            skipped.append((path, f"{path}: shorter side {sizes[i]} px, under {min_size}"))
        else:
            paths.append(path)
    return PhotoIndex(paths, skipped)


def _folder_photos(root: Path, min_size: int) -> PhotoIndex:
    skipped: list[tuple[Path, str]] = []
    # Photo sets named by number or hash often have no suffix; what such a file is, its header says.
    found = find_images(root, SUFFIXES | {""}, lambda path, why: skipped.append((path, f"{path}: {why}")))

    def fault(path: Path) -> str | None:
        try:
            shorter = min(images.image_size(path))
        except ImageError as error:
            return str(error)
        return f"{path}: shorter side {shorter} px, under {min_size}" if shorter < min_size else None

    with ThreadPoolExecutor(8) as pool:  # the wait is for the disk, not for the processor
        faults = list(pool.map(fault, found))
    skipped += [(path, why) for path, why in zip(found, faults, strict=True) if why]
    return PhotoIndex([path for path, why in zip(found, faults, strict=True) if not why], skipped)
