"""Pictures with classes: folders and archives, batches that repeat, broken pictures, bad input."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import picture
from PIL import Image

from texturenet import images
from texturenet.labelled import Batches, Labelled, loaded, open_labelled, split, validation


def save_folders(root: Path, classes: int = 3, each: int = 4) -> Path:
    """Class folders c0, c1, ..., as Tiny-ImageNet has them, of 24x20 px pictures."""
    for label in range(classes):
        for i in range(each):
            images.save_image(picture(20, 24, 10 * label + i), root / f"c{label}" / "images" / f"{i}.JPEG".lower())
    return root


def save_archive(path: Path, classes: int = 3, each: int = 4, **changed: np.ndarray) -> Path:
    files = []
    for n in range(classes * each):
        content = io.BytesIO()
        images.to_pil(picture(20, 24, n)).save(content, "JPEG")
        files.append(np.frombuffer(content.getvalue(), np.uint8))
    fields = {
        "jpeg": np.concatenate(files),
        "offset": np.cumsum([0, *map(len, files)]),
        "label": np.repeat(np.arange(classes), each).astype(np.int16),
        "wnid": np.array([f"n{label}" for label in range(classes)]),
    }
    np.savez(path, **(fields | changed))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Labelled:
    return open_labelled(save_folders(tmp_path / "data"))


def batches(pictures: Labelled, **changed: object) -> Batches:
    options = {"batch_size": 4, "sizes": (16,), "crop": 0.5, "seed": 0} | changed
    return Batches(pictures, np.arange(len(pictures.labels)), **options)  # type: ignore[arg-type]


def test_folders_and_archives(tmp_path: Path) -> None:
    folders = open_labelled(save_folders(tmp_path / "data"))
    archive = open_labelled(save_archive(tmp_path / "data.npz"))
    assert folders.classes == ("c0", "c1", "c2")
    assert archive.classes == ("n0", "n1", "n2")
    assert folders.labels.tolist() == archive.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert folders.fingerprint != archive.fingerprint
    for found, seed in ((folders, 21), (archive, 9)):  # the second picture of the third class
        error = images.to_tensor(found.open(9, 16)) - picture(20, 24, seed)
        assert error.abs().mean() < 0.05  # it went through JPEG


def test_a_batch_is_a_function_of_seed_and_step(pictures: Labelled) -> None:
    first = list(loaded(batches(pictures), 0, 5, workers=0))
    again = list(loaded(batches(pictures), 2, 5, workers=2))
    assert len(first) == 5
    for (crops, labels), (crops_again, labels_again) in zip(first[2:], again, strict=True):
        assert torch.equal(crops, crops_again)
        assert torch.equal(labels, labels_again)
    assert not torch.equal(first[0][0], batches(pictures, seed=1)[0][0])


def test_an_epoch_shows_every_picture_once(pictures: Labelled) -> None:
    for start in (0, 3):  # 12 pictures in batches of 4
        labels = torch.cat([labels for _, labels in loaded(batches(pictures), start, start + 3, 0)])
        assert labels.bincount().tolist() == [4, 4, 4]
    shapes = {crops.shape for crops, _ in loaded(batches(pictures, sizes=(16, 24)), 0, 8, 0)}
    assert shapes == {(4, 3, 16, 16), (4, 3, 24, 24)}


def test_every_picture_of_a_batch_has_its_own_crop(tmp_path: Path) -> None:
    for label in range(2):
        images.save_image(picture(40, 40), tmp_path / "data" / str(label) / "same.png")
    crops, _ = batches(open_labelled(tmp_path / "data"), batch_size=8)[0]
    assert len({tuple(crop.flatten().tolist()) for crop in crops}) == 8


def test_the_whole_square_is_the_picture(tmp_path: Path) -> None:
    for label in range(2):
        images.save_image(picture(16, 16), tmp_path / "data" / str(label) / "a.png")
    found = open_labelled(tmp_path / "data")
    pixels = images.to_uint8(images.to_pil(picture(16, 16)))
    for crop in batches(found, crop=1.0)[0][0]:
        assert torch.equal(crop, pixels) or torch.equal(crop, pixels.flip(-1))
    crops, labels = next(validation(found, np.arange(2), 8, 16))
    assert torch.equal(crops, torch.stack([pixels, pixels]))
    assert labels.tolist() == [0, 1]


def test_split() -> None:
    chosen, held_out = split(10, 3, seed=0)
    assert sorted([*chosen, *held_out]) == list(range(10))
    assert len(held_out) == 3
    assert held_out.tolist() == split(10, 3, seed=0)[1].tolist() != split(10, 3, seed=1)[1].tolist()
    with pytest.raises(ValueError, match=r"held_out 6 of 10 pictures .* give 5"):
        split(10, 6, seed=0)


def test_a_broken_picture_gives_way_to_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = save_folders(tmp_path / "data")
    (root / "c1" / "images" / "2.jpeg").write_text("no picture")
    crops, _ = batches(open_labelled(root), batch_size=12)[0]
    assert len(crops) == 12
    assert capsys.readouterr().err.count("c1/images/2.jpeg: not a picture") >= 1
    assert len(next(validation(open_labelled(root), np.arange(12), 12, 16))[1]) == 11


@pytest.mark.parametrize("workers", [0, 1])
def test_only_broken_pictures_are_one_clear_line(tmp_path: Path, workers: int) -> None:
    path = save_archive(tmp_path / "data.npz")
    with np.load(path) as file:
        save_archive(path, jpeg=np.zeros_like(file["jpeg"]))
    with pytest.raises(ValueError, match=r"^10 pictures in a row could not be read, the last: .*data.npz: picture \d+"):
        list(loaded(batches(open_labelled(path)), 0, 1, workers))


def test_bad_input(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no archive")
    (tmp_path / "empty" / "c0").mkdir(parents=True)
    np.savez(tmp_path / "other.npz", pixels=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    Image.new("RGB", (16, 16)).save(tmp_path / "picture.png")
    save_folders(tmp_path / "one", classes=1)
    save_archive(tmp_path / "short.npz", label=np.zeros(5, np.int16))
    save_archive(tmp_path / "unnamed.npz", wnid=np.array(["n0"]))
    np.savez_compressed(tmp_path / "damaged.npz", jpeg=np.zeros(1000))
    whole = bytearray((tmp_path / "damaged.npz").read_bytes())
    whole[60:70] = b"\xff" * 10  # in the deflated bytes
    (tmp_path / "damaged.npz").write_bytes(whole)
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**50,)})
        archive.writestr("jpeg.npy", header.getvalue())
    for name, message in {
        "nowhere": "nowhere: no such file; --data names a folder",
        "note.txt": "note.txt is no .npz of pictures",
        "array.npy": "array.npy is no .npz of pictures",
        "picture.png": "picture.png is no .npz of pictures",
        "empty": "empty: no folder with pictures in it",
        "one": "one: 1 class with pictures",
        "other.npz": "other.npz: no jpeg in it",
        "short.npz": "short.npz: its jpeg, offset, label and wnid don't fit",
        "damaged.npz": "damaged.npz is no .npz of pictures",
        "huge.npz": "huge.npz is no .npz of pictures",
        "unnamed.npz": "unnamed.npz: its jpeg, offset, label and wnid don't fit",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            open_labelled(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changed", [{"crop": 0.0}, {"crop": 1.5}, {"sizes": (64, 8)}])
def test_bad_crops(pictures: Labelled, changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="16 px or more"):
        batches(pictures, **changed)
