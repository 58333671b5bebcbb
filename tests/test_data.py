"""Photos to train on: what is found and what is left out, and batches that can be repeated exactly."""

import itertools
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from texturenet import data, images
from texturenet.data import Photos, batches, find_photos, summary
from texturenet.files import find_images


def make_photo(path: Path, colour: int = 100, size: tuple[int, int] = (60, 40)) -> Path:
    """A plain picture whose red channel tells which one it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 0, 200)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Ten photos of noise, of different sizes."""
    generator = torch.Generator().manual_seed(1)
    for i in range(10):
        image = torch.rand(1, 3, 30 + 3 * i, 60 - 2 * i, generator=generator)
        images.save_image(image, tmp_path / f"photo{i}.{'jpg' if i % 2 else 'png'}")
    return find_images(tmp_path)


def make_coco(root: Path, name: str = "train2017") -> Path:
    """Four photos: cat, dog, both, neither; and one that is in the json only."""
    for i in (1, 2, 3, 4):
        make_photo(root / name / f"{i:012d}.jpg", 50 * i)
    labels = [(1, 17), (1, 17), (2, 18), (3, 17), (3, 18), (5, 17)]
    content = {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 60, "height": 40} for i in (3, 1, 2, 4, 5)],
        "annotations": [{"id": n, "image_id": i, "category_id": c} for n, (i, c) in enumerate(labels)],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 19, "name": "horse"}],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(content))
    return root


def take(source: Iterator[Tensor], count: int) -> list[Tensor]:
    return list(itertools.islice(source, count))


def numbers(paths: list[Path]) -> list[int]:
    return [int(path.stem) for path in paths]


# ------------------------------------------------------------------------------------------------- any folder


def test_nested_folder_with_things_that_are_no_photos(tmp_path: Path) -> None:
    make_photo(tmp_path / "b10.jpg")
    make_photo(tmp_path / "b9.jpg")
    make_photo(tmp_path / "a" / "with space" / "ä.PNG".lower())
    Image.new("RGB", (20, 20)).save(tmp_path / "0cc175b9c0f1b6a8", "JPEG")  # named by its hash
    make_photo(tmp_path / "tiny.png", size=(100, 15))
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").write_text("ignored")
    index = find_photos(tmp_path)
    assert [path.name for path in index.paths] == ["0cc175b9c0f1b6a8", "ä.png", "b9.jpg", "b10.jpg"]
    reasons = {path.name: reason for path, reason in index.skipped}
    assert set(reasons) == {"tiny.png", "text.jpg", "empty.jpg"}
    assert "15 px" in reasons["tiny.png"]
    assert "not a picture" in reasons["text.jpg"]
    assert "empty" in reasons["empty.jpg"]
    assert summary(index)[0] == "found 4 pictures, skipped 3"


def test_summary_is_short(tmp_path: Path) -> None:
    index = data.PhotoIndex([], [(tmp_path, f"reason {i}") for i in range(12)])
    lines = summary(index)
    assert len(lines) == 7
    assert "reason 0" in lines[1]
    assert lines[-1].strip() == "... and 7 more"
    assert summary(data.PhotoIndex([tmp_path], [])) == ["found 1 pictures, skipped 0"]


def test_bad_folders_have_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file.jpg").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.jpg").write_text("text")
    expected = {"missing": "no such folder", "file.jpg": "is a file", "empty": "no usable photo", "bad": "1 left out"}
    for name, reason in expected.items():
        with pytest.raises(ValueError, match=reason) as caught:
            find_photos(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_categories_need_coco(photos: list[Path]) -> None:
    with pytest.raises(ValueError, match="instances_train2017"):
        find_photos(photos[0].parent, categories=["cat"])


def test_sub_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_photo(tmp_path / "a.jpg")

    def walk(folder: Path, _suffixes: object, on_unreadable: object) -> list[Path]:
        assert callable(on_unreadable)
        on_unreadable(folder / "lost+found", "no permission")
        return [folder / "a.jpg"]

    monkeypatch.setattr(data, "find_images", walk)
    index = find_photos(tmp_path)
    assert [reason for _, reason in index.skipped] == [f"{tmp_path / 'lost+found'}: no permission"]


# ------------------------------------------------------------------------------------------------------- COCO


def test_coco_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_photo(make_coco(tmp_path) / "val2017" / "9.jpg")
    index = find_photos(tmp_path)
    assert numbers(index.paths) == [1, 2, 3, 4]  # sorted by id, val2017 left alone
    assert [path.name for path, _ in index.skipped] == ["000000000005.jpg"]
    assert "not on disk" in index.skipped[0][1]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("categories", "ids"), [(["cat"], [1, 3]), (["dog"], [2, 3]), (["cat", "dog"], [1, 2, 3])])
def test_coco_categories(tmp_path: Path, categories: list[str], ids: list[int]) -> None:
    assert numbers(find_photos(make_coco(tmp_path), categories).paths) == ids


def test_unknown_category_lists_the_choices(tmp_path: Path) -> None:
    make_coco(tmp_path)
    with pytest.raises(ValueError, match=r"unknown category unicorn: .*cat, dog, horse"):
        find_photos(tmp_path, ["cat", "unicorn"])
    with pytest.raises(ValueError, match="no usable photo"):
        find_photos(tmp_path, ["horse"])


def test_coco_layouts(tmp_path: Path) -> None:
    make_coco(tmp_path, "train2014")
    assert len(find_photos(tmp_path).paths) == 4
    (tmp_path / "images").mkdir()
    (tmp_path / "train2014").rename(tmp_path / "images" / "train2014")
    assert len(find_photos(tmp_path).paths) == 4
    with pytest.raises(ValueError, match="shorter side 40 px"):
        find_photos(tmp_path, min_size=41)


def test_coco_without_its_picture_folder(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / "train2017").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"no folder train2017: unpack train2017\.zip"):
        find_photos(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"images": [{"id": 1}]}',
        '{"images": 3}',
        pytest.param("[" * 100_000, id="deep"),
        '{"images": [{"id": 1, "file_name": "a.jpg", "width": [3], "height": [4]}]}',
    ],
)
def test_broken_annotation_file(tmp_path: Path, content: str) -> None:
    make_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=str(path)) as caught:
        find_photos(tmp_path)
    assert "\n" not in str(caught.value)


def test_categories_without_a_name_are_listed_all_the_same(tmp_path: Path) -> None:
    make_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 99, "name": None})
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"unknown category zebra: .* None"):
        find_photos(tmp_path, ["zebra"])


# -------------------------------------------------------------------------------------------- items and batches


def test_same_batches_for_any_number_of_workers_and_wherever_resumed(photos: list[Path]) -> None:
    expected = take(batches(Photos(photos, 16, seed=3), 4), 7)  # 28 items: almost three epochs
    assert all(batch.shape == (4, 3, 16, 16) and batch.dtype == torch.uint8 for batch in expected)
    for workers in (0, 2):
        again = take(batches(Photos(photos, 16, seed=3), 4, start_step=2, workers=workers), 5)
        assert all(torch.equal(a, b) for a, b in zip(again, expected[2:], strict=True))
    other = next(batches(Photos(photos, 16, seed=4), 4))
    assert not torch.equal(other, expected[0])
    assert not torch.equal(Photos(photos[:1], 16, seed=3)[0], Photos(photos[:1], 16, seed=4)[0])


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_processes_share_the_same_batch(photos: list[Path], world_size: int) -> None:
    whole = take(batches(Photos(photos, 16), 4, start_step=1), 3)
    shares = [
        take(batches(Photos(photos, 16), 4, start_step=1, rank=rank, world_size=world_size), 3)
        for rank in range(world_size)
    ]
    for step, batch in enumerate(whole):
        assert torch.equal(torch.cat([share[step] for share in shares]), batch)


def test_batch_size_must_be_shared_evenly(photos: list[Path]) -> None:
    for batch_size, rank, world_size in ((3, 0, 2), (0, 0, 1), (4, 2, 2)):
        with pytest.raises(ValueError, match="take a multiple"):
            batches(Photos(photos, 16), batch_size, rank=rank, world_size=world_size)


def test_every_photo_is_seen_once_an_epoch(tmp_path: Path) -> None:
    paths = [make_photo(tmp_path / f"{i}.png", colour=20 * i) for i in range(12)]
    photos = Photos(paths, 8)
    epochs = [[round(int(photos[n][0, 0, 0]) / 20) for n in range(e * 12, e * 12 + 12)] for e in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 80), width=st.integers(1, 80), size=st.integers(1, 40), n=st.integers(0, 10**12),
    seed=st.integers(0, 2**63), suffix=st.sampled_from(["png", "jpg"]),
)  # fmt: skip
def test_crops_stay_inside(tmp_path: Path, height: int, width: int, size: int, n: int, seed: int, suffix: str) -> None:
    path = make_photo(tmp_path / f"a.{suffix}", colour=180, size=(width, height))
    crop = Photos([path], size, seed)[n]
    assert crop.shape == (3, size, size)
    # Anything from outside the photo would be black.
    assert (crop.float().mean((1, 2)) - torch.tensor([180.0, 0, 200])).abs().max() < 4


def test_crops_move_zoom_and_are_mirrored_half_the_time(tmp_path: Path) -> None:
    ramp = torch.linspace(0, 1, 120).expand(1, 3, 120, 120)  # dark to light from left to right
    images.save_image(ramp, tmp_path / "a.png")
    photos = Photos([tmp_path / "a.png"], 24)
    rows = torch.stack([photos[n][0, 0].float() for n in range(200)])  # (200, S)
    mirrored = rows[:, 0] > rows[:, -1]
    assert 70 < int(mirrored.sum()) < 130
    spans = (rows[:, 0] - rows[:, -1]).abs() / 255 * 24 / 23  # share of the photo that the crop shows
    assert 1 / data.MAX_ZOOM - 0.03 < spans.min() < 0.72
    assert 0.93 < spans.max() < 1.01
    centres = rows.mean(1) / 255
    assert centres.min() < 0.42
    assert centres.max() > 0.58


def test_color_jitter_is_as_far_as_it_says(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), (100, 100, 100)).save(tmp_path / "a.png")  # a grey that brightness alone can change
    photos = Photos([tmp_path / "a.png"], 16, color_jitter=0.7)
    pictures = torch.stack([photos[n] for n in range(200)])
    assert torch.equal(pictures, torch.stack([photos[n] for n in range(200)]))
    light = pictures.float().mean((1, 2, 3)) / 100
    assert 0.6 < light.min() < 0.65 and 1.55 < light.max() < 1.63


def test_color_jitter_leaves_the_crop_where_it_is(tmp_path: Path) -> None:
    edge = torch.zeros(1, 3, 80, 80)
    edge[..., 40:] = 0.5
    images.save_image(edge, tmp_path / "a.png")
    plain, jittered = (Photos([tmp_path / "a.png"], 32, color_jitter=jitter) for jitter in (0.0, 0.7))
    places = [[int(photos[n][0, 0].float().diff().abs().argmax()) for n in range(20)] for photos in (plain, jittered)]
    assert max(abs(one - other) for one, other in zip(*places, strict=True)) <= 1  # the edge is two pixels wide
    assert max(places[0]) - min(places[0]) > 5


def test_bad_numbers(photos: list[Path]) -> None:
    for paths, size, seed in (([], 16, 0), (photos, 0, 0), (photos, 16, -1)):
        with pytest.raises(ValueError, match="needs a photo"):
            Photos(paths, size, seed)


# ------------------------------------------------------------------------------------------- trouble in mid-run


@pytest.mark.parametrize("workers", [0, 2])
def test_deleted_photo_is_replaced_by_the_next_and_named_once(
    photos: list[Path], workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = Photos(photos, 16)
    before = [dataset[n] for n in range(10)]
    order = dataset._permutation(0).tolist()
    gone = 4  # its place in the epoch
    photos[order[gone]].unlink()
    photos[order[gone + 1]].write_bytes(photos[order[gone + 1]].read_bytes()[:300])
    source = batches(dataset, 2, workers=workers)
    after = torch.cat(take(source, 15))  # three epochs: each bad photo is met three times
    del source
    assert all(torch.equal(after[n], before[n]) for n in range(10) if n not in (gone, gone + 1))
    stand_in = dataset._crop(photos[order[gone + 2]], gone)
    assert torch.equal(after[gone], stand_in)
    assert dataset.unreadable == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 2
    assert sum(str(photos[order[gone]]) in line for line in errors) == 1


def test_reports_are_capped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [make_photo(tmp_path / f"{i}.png") for i in range(30)]
    for path in paths[:9]:
        path.unlink()
    dataset = Photos(paths, 8)
    for n in range(60):
        dataset[n]
    lines = capsys.readouterr().err.splitlines()
    assert dataset.unreadable == 9
    assert len(lines) == data.REPORTS + 1
    assert "no longer named" in lines[-1]


@pytest.mark.parametrize("workers", [0, 2])
def test_when_all_photos_are_gone_none_takes_the_place_of_another(photos: list[Path], workers: int) -> None:
    source = batches(Photos(photos, 16), 2, workers=workers)
    for path in photos:
        path.unlink()
    with pytest.raises(data.PhotosAway, match=r"the photos are away, first .*no such file") as caught:
        take(source, 20)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_when_all_photos_are_broken_the_run_ends_with_one_line(photos: list[Path], workers: int) -> None:
    source = batches(Photos(photos, 16), 2, workers=workers)
    for path in photos:
        path.write_text("no picture")
    with pytest.raises(ValueError, match="last 10 photos could not be read") as caught:
        take(source, 20)
    assert "is the disk still there?" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_workers_outlive_ctrl_c_and_end_quietly_with_the_run(photos: list[Path], tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(f"""
import os, signal
from texturenet.data import Photos, batches
from texturenet.files import find_images

if __name__ == "__main__":
    source = batches(Photos(find_images({str(photos[0].parent)!r}), 16), 2, workers=2)
    next(source)
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(1))  # a parent that ends its step, and saves, first
    os.killpg(0, signal.SIGINT)  # as the terminal does: to every process of the group
    for _ in range(20):
        next(source)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.killpg(0, signal.SIGINT)
        next(source)
    except KeyboardInterrupt:
        print("saved", len(pressed))
""")
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "saved 1\n", "")


def test_worker_that_is_killed_is_one_line() -> None:
    def loader(message: str, kind: type[Exception] = RuntimeError) -> Iterator[Tensor]:
        yield torch.zeros(1)
        raise kind(message)

    died = "DataLoader worker (pid 1) is killed by signal: Killed. \nMore."
    with pytest.raises(data.ReaderDied, match="use fewer workers") as caught:
        list(data.checked(loader(died)))
    assert "\n" not in str(caught.value)
    for kind in (ConnectionResetError, ConnectionRefusedError, EOFError, FileNotFoundError):  # by the moment of death
        with pytest.raises(data.ReaderDied):
            list(data.checked(loader("", kind)))
    with pytest.raises(RuntimeError, match="a mistake"):
        list(data.checked(loader("Caught RuntimeError in DataLoader worker process 0: a mistake")))


@pytest.mark.parametrize("workers", [0, 1, 1 + (os.cpu_count() or 1)])
def test_no_warning_and_no_hidden_randomness(photos: list[Path], workers: int) -> None:
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        take(batches(Photos(photos, 16), 2, workers=workers), 2)
    assert torch.equal(torch.get_rng_state(), before)
