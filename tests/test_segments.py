"""segments.py on an annotation file with the three forms of COCO: polygon, run lengths, compressed run lengths."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from texturenet.segments import Segments


def annotation(i: int, category: int, segmentation: Any, image: int = 7) -> dict[str, Any]:
    return {"id": i, "image_id": image, "category_id": category, "segmentation": segmentation, "area": 1, "iscrowd": 0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    square = np.zeros((10, 20), dtype=np.uint8)
    square[6:9, 2:5] = 1
    compressed = coco_mask.encode(np.asfortranarray(square))
    content = {
        "categories": [
            {"id": 1, "name": "person", "supercategory": "person"},
            {"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 17, "name": "cat", "supercategory": "animal"},
        ],
        "images": [
            {"id": 7, "file_name": "deep/seven.jpg", "height": 10, "width": 20},
            {"id": 8, "file_name": "eight.jpg", "height": 6, "width": 4},
        ],
        "annotations": [
            annotation(1, 1, [[10, 2, 16, 2, 16, 5, 10, 5]]),  # x y: columns 10..15 of rows 2..4
            annotation(2, 18, {"size": [10, 20], "counts": [0, 4, 196]}),  # the first four rows of column 0
            annotation(3, 17, {"size": [10, 20], "counts": compressed["counts"].decode()}),
            annotation(4, 17, [[0, 0, 4, 0, 4, 6, 0, 6]], image=8),
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path / "instances.json"


def area(rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.zeros(1, 1, 10, 20)
    mask[..., rows, columns] = 1
    return mask


PERSON, DOG, CAT = area(slice(2, 5), slice(10, 16)), area(slice(0, 4), slice(0, 1)), area(slice(6, 9), slice(2, 5))


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        (["person"], PERSON),
        (["dog"], DOG),
        (["cat"], CAT),
        (["person", "dog"], PERSON + DOG),
        (["animal"], DOG + CAT),
        (["animal", "cat", "person"], PERSON + DOG + CAT),
    ],
)
def test_polygons_and_run_lengths(path: Path, categories: list[str], expected: torch.Tensor) -> None:
    assert torch.equal(Segments(path, categories).mask(Path("elsewhere/seven.jpg")), expected)


def test_a_picture_without_that_category(path: Path) -> None:
    mask = Segments(path, ["person"]).mask(Path("eight.jpg"))
    assert mask.shape == (1, 1, 6, 4) and not mask.any()


def test_a_picture_that_is_not_listed(path: Path) -> None:
    with pytest.raises(ValueError, match=r"nine.jpg: instances.json lists no picture of that name"):
        Segments(path, ["dog"]).mask(Path("nine.jpg"))


def test_an_unknown_category_lists_the_known(path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown category doge: .*instances.json has cat, dog, person"):
        Segments(path, ["dog", "doge"])


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"images": [{}]}', '{"categories": 3}'])
def test_no_annotation_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x.json: not a COCO annotation file"):
        Segments(tmp_path / "x.json", ["dog"])
    with pytest.raises(ValueError, match=r"nowhere.json: no such file"):
        Segments(tmp_path / "nowhere.json", ["dog"])


@pytest.mark.parametrize(
    "segmentation",
    [
        [[0, 0, 4e8, 0, 5, 4.1e8, -4e8, 1e9]],  # pycocotools walks such an edge, and out of its memory
        [[0, 0, float("nan"), 0, 5, 5]],
        [[1, 2, 3]],
        [],
        None,
        "polygon",
        {"size": [100_000, 100_000], "counts": "0"},
        {"size": [10, 20], "counts": [0, 4]},
        {"size": [10, 20], "counts": [0, 10**9]},
        {"counts": [200]},
    ],
    ids=str,
)
def test_damaged_segments(path: Path, segmentation: Any) -> None:
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = segmentation
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"instances.json: what it says of seven.jpg is damaged \("):
        Segments(path, ["person"]).mask(Path("seven.jpg"))


@pytest.mark.parametrize("size", [{"height": 10**6, "width": 10**6}, {"height": -1}, {"width": None}, {"width": "a"}])
def test_a_size_that_no_picture_has(path: Path, size: dict[str, Any]) -> None:
    content = json.loads(path.read_text())
    content["images"][0] |= size
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"what it says of seven.jpg is damaged"):
        Segments(path, ["person"]).mask(Path("deep/seven.jpg"))


def test_names_that_are_no_words(path: Path) -> None:
    content = json.loads(path.read_text())
    content["categories"][1] |= {"supercategory": ["a", "list"]}
    content["categories"][2] |= {"name": None}
    path.write_text(json.dumps(content))
    assert torch.equal(Segments(path, ["dog"]).mask(Path("seven.jpg")), DOG)
    with pytest.raises(ValueError, match="has None, dog, person"):
        Segments(path, ["cat"])


def test_pictures_of_one_name_are_told_by_their_folders(path: Path) -> None:
    content = json.loads(path.read_text())
    content["images"].append({"id": 9, "file_name": "wide/seven.jpg", "height": 10, "width": 20})
    path.write_text(json.dumps(content))
    people = Segments(path, ["person"])
    assert torch.equal(people.mask(Path("photos/deep/seven.jpg")), PERSON)
    assert not people.mask(Path("photos/wide/seven.jpg")).any()
    with pytest.raises(ValueError, match=r"elsewhere/seven.jpg: instances.json lists several of that name"):
        people.mask(Path("elsewhere/seven.jpg"))
