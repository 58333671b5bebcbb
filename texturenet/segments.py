"""Masks out of a COCO annotation file: where a picture shows a person, a dog, the sky."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LONGEST, _MAX_PIXELS = 65_535, 200_000_000  # of a picture; a file may claim any size


class Segments:
    """The segments of some categories in one annotation file, for any of its pictures.

    path        COCO json: images with file names, annotations with polygons or run lengths
    categories  names, the union of which is taken; a supercategory stands for all of its categories
    Raises ValueError for a file that is none and a name that it lacks, OSError where it can't be read.
    """

    def __init__(self, path: Path, categories: Sequence[str]) -> None:
        self.path, self.categories = path, tuple(categories)
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            from pycocotools.coco import COCO

            try:
                self._coco = COCO(str(path))
                cats = self._coco.cats.items()
                known = {i: (str(cat["name"]), str(cat.get("supercategory"))) for i, cat in cats}
                self._images: dict[str, list[Any]] = {}
                for image in self._coco.imgs.values():
                    self._images.setdefault(Path(image["file_name"]).name, []).append(image)
            except FileNotFoundError:
                raise ValueError(f"{path}: no such file: check the spelling and the folder") from None
            except Exception as error:  # a damaged file makes pycocotools raise nearly anything
                raise ValueError(f"{path}: not a COCO annotation file ({error}): download or unpack it again") from None
        if unknown := [name for name in categories if not any(name in names for names in known.values())]:
            names = ", ".join(sorted(name for name, _ in known.values()))
            raise ValueError(f"unknown category {', '.join(unknown)}: {path} has {names}")
        self._ids = [i for i, names in known.items() if {*names} & {*categories}]

    def mask(self, picture: Path) -> Tensor:
        """(1, 1, H, W), 1 on the segments, 0 elsewhere, at the size that the file gives; all 0 where there are none.

        The picture is looked up by its file's name, and by its folders where several are called so. Raises ValueError
        when it is not there, or can't be told from another.
        """
        found = self._images.get(picture.name, [])
        if not found:
            raise ValueError(
                f"{picture}: {self.path.name} lists no picture of that name: take the file of its data set"
            )
        if len(found) > 1:
            path = picture.resolve().as_posix()
            found = [image for image in found if path.endswith(f"/{image['file_name']}")]
        if len(found) != 1:
            raise ValueError(
                f"{picture}: {self.path.name} lists several of that name; keep the picture in the folders that it names"
            )
        (image,) = found
        try:
            height, width = int(image["height"]), int(image["width"])
            if not (0 < height <= _LONGEST and 0 < width <= _LONGEST and height * width <= _MAX_PIXELS):
                raise ValueError(f"a size of {width}x{height}")
            mask = np.zeros((height, width), dtype=np.uint8)
            for annotation in self._coco.loadAnns(self._coco.getAnnIds(imgIds=image["id"], catIds=self._ids)):
                _require_within(annotation["segmentation"], height, width)
                segment = self._coco.annToMask(annotation)
                if segment.max() > 1:  # pycocotools leaves what run lengths do not reach as it found it
                    raise ValueError("run lengths that end too early")
                mask |= segment
        except Exception as error:  # damaged annotations make pycocotools raise nearly anything
            raise ValueError(f"{self.path}: what it says of {picture.name} is damaged ({error})") from None
        return torch.from_numpy(mask).float()[None, None]


def _require_within(segmentation: Any, height: int, width: int) -> None:
    """Raises ValueError for segments that are far larger than their picture.

    pycocotools walks along every polygon pixel by pixel, and for corners a billion pixels away writes past its arrays.
    """
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError("run lengths of another size")
        if isinstance(segmentation["counts"], list) and sum(segmentation["counts"]) != height * width:
            raise ValueError("run lengths that end elsewhere than the picture")
        return
    for polygon in segmentation:
        corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)  # (N, 2) of x, y
        if len(corners) < 2 or not (abs(corners) <= 2 * np.array([width, height])).all():
            raise ValueError("a polygon outside of the picture")
