"""data/: drawings repeat by seed, and the masks in the COCO files are the drawn ones, to the pixel."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from data import draw
from data.coco_files import MIN_VISIBLE_AREA, annotate
from data.draw_textures import TEXTURES, draw_texture
from data.scene import CATEGORIES

DATA = Path(draw.__file__).parent
SPLITS = ("train2017", "val2017")


def extent(mask: NDArray[np.uint8]) -> list[int]:
    """The box x, y, w, h around a mask's pixels."""
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]


@pytest.mark.parametrize("name", TEXTURES)
def test_texture_is_a_picture_of_its_seed(name: str) -> None:
    picture = draw_texture(name, size=96, seed=1)
    assert picture.shape == (96, 96, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 30, "a style needs contrast"
    np.testing.assert_array_equal(picture, draw_texture(name, size=96, seed=1))
    assert np.abs(picture.astype(int) - draw_texture(name, size=96, seed=2)).mean() > 10


def test_unknown_texture_names_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'mosiac'.*mosaic, brushstrokes"):
        draw_texture("mosiac")


@pytest.mark.parametrize("family", draw.SCENES)
@pytest.mark.parametrize(("h", "w"), [(60, 80), (75, 51)])
def test_scene_is_repeatable_and_its_labels_fit(family: str, h: int, w: int) -> None:
    first, again, other = (draw.SCENES[family](np.random.default_rng(seed), h, w) for seed in (3, 3, 4))
    assert first.picture.shape == (h, w, 3)
    assert first.labels.shape == (h, w)
    assert first.labels.min() >= 0
    assert first.labels.max() <= len(first.names)
    assert set(first.names) <= set(CATEGORIES)
    assert len(annotate(first)) >= 3
    np.testing.assert_array_equal(first.picture, again.picture)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.picture, other.picture)


@pytest.fixture(scope="module")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample")
    draw.main(["sample", "--out_dir", str(root), "--train", "2", "--val", "2", "--seed", "5"])
    return root


@pytest.mark.parametrize("split", SPLITS)
def test_annotations_are_the_drawn_masks(small_sample: Path, split: str) -> None:
    coco = COCO(small_sample / "annotations" / f"instances_{split}.json")
    assert len(coco.imgs) == 2
    for image_id in coco.imgs:
        scene = draw.draw_scene(image_id, seed=5)
        visible = [k for k in range(1, len(scene.names) + 1) if (scene.labels == k).sum() >= MIN_VISIBLE_AREA]
        annotations = coco.loadAnns(coco.getAnnIds(image_id))
        assert len(annotations) == len(visible)
        for label, annotation in zip(visible, annotations, strict=True):
            mask = scene.labels == label
            np.testing.assert_array_equal(coco.annToMask(annotation), mask)
            assert annotation["bbox"] == extent(mask)
            assert annotation["area"] == mask.sum()
            assert annotation["iscrowd"] == 0
            assert coco.cats[annotation["category_id"]]["name"] == scene.names[label - 1]


def test_ids_are_unique_over_both_splits(small_sample: Path) -> None:
    documents = [json.loads((small_sample / "annotations" / f"instances_{split}.json").read_text()) for split in SPLITS]
    for kind in ("images", "annotations"):
        ids = [entry["id"] for document in documents for entry in document[kind]]
        assert len(ids) == len(set(ids))


def test_same_seed_writes_the_same_annotations(small_sample: Path, tmp_path: Path) -> None:
    draw.draw_sample(tmp_path, train=2, val=2, seed=5)
    for split in SPLITS:
        path = Path("annotations") / f"instances_{split}.json"
        assert (tmp_path / path).read_text() == (small_sample / path).read_text()


@pytest.mark.parametrize(("split", "count"), [("train2017", 48), ("val2017", 8)])
def test_shipped_sample_is_consistent(split: str, count: int) -> None:
    coco = COCO(DATA / "sample" / "annotations" / f"instances_{split}.json")
    assert len(coco.imgs) == count
    assert {info["file_name"] for info in coco.imgs.values()} == {p.name for p in (DATA / "sample" / split).iterdir()}
    for info in coco.imgs.values():
        with Image.open(DATA / "sample" / split / info["file_name"]) as picture:
            assert picture.size == (info["width"], info["height"])
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert annotation["bbox"] == extent(mask)
        assert annotation["area"] == mask.sum() >= MIN_VISIBLE_AREA


@pytest.mark.parametrize("name", TEXTURES)
def test_shipped_texture_exists(name: str) -> None:
    path = DATA / "textures" / f"{name}.jpg"
    assert path.stat().st_size < 150_000
    with Image.open(path) as picture:
        assert picture.size == (512, 512)


def test_textures_command_writes_the_named_ones(tmp_path: Path) -> None:
    draw.main(["textures", "--names", "weave", "--size", "32", "--out_dir", str(tmp_path)])
    assert [p.name for p in tmp_path.iterdir()] == ["weave.jpg"]
    with pytest.raises(SystemExit):
        draw.main(["textures", "--size", "0"])
    assert draw.main(["textures", "--out_dir", str(tmp_path / "weave.jpg" / "in")]) == 2  # a file is no folder
