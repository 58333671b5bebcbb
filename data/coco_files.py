"""Scenes with masks -> a folder in MSCOCO's layout: `annotations/instances_<split>.json` and `<split>/<id>.jpg`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_mask

from data.scene import CATEGORIES, Scene
from texturenet import codec
from texturenet.files import write_whole

JPEG_QUALITY = 82
MIN_VISIBLE_AREA = 16  # pixels; an object that shows less is not annotated


def write_jpeg(picture: npt.NDArray[np.uint8], path: Path, quality: int) -> None:
    """(h, w, 3) into a file that appears whole or not at all, colours at half the resolution. Raises OSError."""
    codec.encode(Image.fromarray(picture), path, quality, optimize=True, subsampling=-1)


def annotate(scene: Scene) -> list[dict[str, Any]]:
    """Annotations of a scene's visible objects, without ids.

    The segmentation is COCO's compressed run-length form, because a polygon can't repeat a drawn mask to the pixel.
    """
    annotations = []
    ids = {name: i for i, name in enumerate(CATEGORIES, start=1)}
    for label, name in enumerate(scene.names, start=1):
        mask = scene.labels == label
        area = int(mask.sum())
        if area < MIN_VISIBLE_AREA:
            continue
        rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y = int(columns[0]), int(rows[0])
        annotations.append(
            {
                "category_id": ids[name],
                "bbox": [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
                "area": area,
                "iscrowd": 0,
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
            }
        )
    return annotations


def write_split(root: Path, split: str, scenes: Iterable[Scene], first_id: int = 1) -> None:
    """Write `scenes` as `root/<split>/` and its json; ids count up from `first_id` (COCO's differ across splits)."""
    images, annotations = [], []
    for image_id, scene in enumerate(scenes, start=first_id):
        h, w = scene.labels.shape
        file_name = f"{image_id:012d}.jpg"
        write_jpeg(scene.picture, root / split / file_name, JPEG_QUALITY)
        images.append({"id": image_id, "file_name": file_name, "height": h, "width": w, "license": 1})
        for i, annotation in enumerate(annotate(scene), start=1):
            annotations.append({"id": image_id * 1000 + i, "image_id": image_id, **annotation})
    document = {
        "info": {"description": f"texturenet sample scenes, {split}", "version": "1.0", "contributor": "texturenet"},
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
        "categories": [
            {"id": i, "name": name, "supercategory": group}
            for i, (name, group) in enumerate(CATEGORIES.items(), start=1)
        ],
        "images": images,
        "annotations": annotations,
    }
    text = json.dumps(document, separators=(",", ":"))
    write_whole(root / "annotations" / f"instances_{split}.json", f"{text}\n".encode())
