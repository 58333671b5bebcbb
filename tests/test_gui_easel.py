"""Uploaded photos, painted."""

from __future__ import annotations

import dataclasses
import io
import os
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import picture
from PIL import Image
from test_stylizer import save_style

from texturenet import Stylizer, images, judging, styles
from texturenet.devices import used_memory
from texturenet.files import ImageError
from texturenet.gui.easel import Easel, Settings, Stopped

SMALL = Settings(styles.find("mosaic"), size=64)


def upload(easel: Easel, name: str, seed: int = 0) -> str:
    path = easel.folder / f"{seed}{name}" / name
    images.save_image(picture(40, 64, seed), path)
    return easel.add(path).key


@pytest.fixture
def easel(tmp_path: Path) -> Easel:
    return Easel(tmp_path)


def test_it_is_what_the_stylizer_makes(easel: Easel) -> None:
    key = upload(easel, "cat.png")
    settings = dataclasses.replace(SMALL, strength=0.5, seed=3, noise_factor=0.5, preserve_color="luma")
    made = easel.paint(key, settings)
    style = Stylizer("mosaic")
    photo = images.open_image(easel.photos[key].path)
    expected = style(photo, 3, 0.5, strength=0.5, preserve_color="luma")
    assert Image.open(made.path).tobytes() == expected.tobytes()
    assert made.path.name == "cat-mosaic.png"
    assert Image.open(made.view).size == Image.open(made.before).size == made.size == (64, 40)


def test_size(easel: Easel) -> None:
    key = upload(easel, "cat.jpg")
    assert easel.paint(key, dataclasses.replace(SMALL, size=32)).size == (32, 20)
    assert easel.paint(key, dataclasses.replace(SMALL, size=None)).size == (64, 40)


def test_strokes_twice_as_large(easel: Easel) -> None:
    key = upload(easel, "cat.png")
    made = easel.paint(key, dataclasses.replace(SMALL, strokes=2.0))
    expected = Stylizer("mosaic")(images.open_image(easel.photos[key].path), work_size=32)
    assert Image.open(made.path).tobytes() == expected.tobytes()


def test_refined(easel: Easel) -> None:
    key, asked = upload(easel, "cat.png"), []

    def go_on(iteration: int) -> bool:
        asked.append(iteration)
        return True

    settings = dataclasses.replace(SMALL, refine=2, strength=0.5)
    made = easel.paint(key, settings, go_on)
    assert asked == [0, 0, 1, 2]  # first, whether it is wanted still
    style = Stylizer("mosaic", finish=judging.refiner(SMALL.style, 2, "cpu"))
    expected = style(images.open_image(easel.photos[key].path), strength=0.5)
    assert Image.open(made.path).tobytes() == expected.tobytes()
    assert easel.at_hand(key, settings) and easel.paint(key, settings, lambda _: False) is made


def test_a_refining_that_is_not_wanted_leaves_the_painting_before(easel: Easel) -> None:
    key = upload(easel, "cat.png")
    painting = easel.paint(key, SMALL)
    before = painting.path.read_bytes()
    with pytest.raises(Stopped):
        easel.paint(key, dataclasses.replace(SMALL, refine=1000), lambda iteration: iteration < 2)
    assert easel.latest(key) is painting and painting.path.read_bytes() == before
    easel.close()
    with pytest.raises(Stopped):
        easel.paint(key, dataclasses.replace(SMALL, refine=1000))


def test_others_paint_while_one_is_refined_and_a_photo_that_is_gone_stays_gone(easel: Easel) -> None:
    key, other = upload(easel, "cat.png"), upload(easel, "dog.png", 1)

    def go_on(iteration: int) -> bool:
        if iteration == 1:
            assert easel.paint(other, SMALL).size == (64, 40)
            easel.remove(key)
        return True

    with pytest.raises(Stopped):
        easel.paint(key, dataclasses.replace(SMALL, refine=2), go_on)
    assert not [path for path in easel.folder.rglob("*cat*") if path.is_file()]


def test_one_that_waits_gives_up_and_one_that_is_there_does_not_wait(easel: Easel) -> None:
    key, other = upload(easel, "cat.png"), upload(easel, "dog.png", 1)
    refined = dataclasses.replace(SMALL, refine=1)
    made = easel.paint(other, refined)

    def go_on(iteration: int) -> bool:
        if iteration == 1:
            assert easel.paint(other, refined) is made
            with pytest.raises(Stopped):
                easel.paint(other, dataclasses.replace(refined, seed=1), lambda _: False)
        return True

    easel.paint(key, refined, go_on)
    assert easel.latest(other) is made


def test_nothing_is_kept_after_the_end(easel: Easel) -> None:
    key = upload(easel, "cat.png")
    easel.close()
    with pytest.raises(Stopped):
        easel.paint(key, SMALL)
    assert not (easel.folder / "results").exists()


def test_a_zip_of_what_can_be_painted(easel: Easel) -> None:
    keys = [upload(easel, "cat.png"), upload(easel, "dog.png", 1), upload(easel, "gone.png", 2)]
    easel.photos[keys[1]].path.write_text("a text")

    def take_away(_done: int) -> None:
        easel.remove(keys[2])

    path, troubles = easel.archive(keys, SMALL, take_away)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["cat-mosaic.png"]
    (trouble,) = troubles
    assert trouble.startswith("dog.png: not a picture")
    with pytest.raises(ValueError, match=r"^dog.png: not a picture"):
        easel.archive(keys[1:], SMALL)
    others = [easel.archive(keys[:1], SMALL)[0] for _ in range(3)]
    assert sorted(easel.folder.rglob("*.zip")) == sorted(others)  # the newest, and none that came to nothing


def test_a_style_that_is_gone(easel: Easel) -> None:
    key, gone = upload(easel, "cat.png"), Settings(easel.folder / "gone.pt")
    for asked in (easel.paint, easel.at_hand):
        with pytest.raises(ValueError, match=r"^gone.pt is gone; choose another style$"):
            asked(key, gone)


def test_nothing_is_downloaded_to_refine(easel: Easel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "weights_at_hand", lambda _: False)
    with pytest.raises(ValueError, match=r"^mosaic.pt was trained with lite, whose weights are not on this machine"):
        easel.paint(upload(easel, "cat.png"), dataclasses.replace(SMALL, refine=1))


def test_an_animation_is_not_refined(easel: Easel) -> None:
    path = easel.folder / "x" / "moving.png"
    path.parent.mkdir()
    still, other = (images.to_pil(picture(40, 64, seed)) for seed in (0, 1))
    still.save(path, save_all=True, append_images=[other])
    with pytest.raises(ValueError, match=r"^moving.png has frames"):
        easel.paint(easel.add(path).key, dataclasses.replace(SMALL, refine=1))


def test_a_style_without_its_texture_is_not_refined(easel: Easel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "weights_at_hand", lambda _: True)
    bare = easel.folder / "bare.pt"
    save_style(bare)
    with pytest.raises(ValueError, match=r"^bare.pt: its loss saw a texture of .* paint without refining$"):
        easel.paint(upload(easel, "cat.png"), Settings(bare, size=64, refine=1))


def test_only_the_latest_is_kept(easel: Easel) -> None:
    key = upload(easel, "cat.jpg")
    first = easel.paint(key, SMALL)
    assert easel.paint(key, SMALL) is first
    second = easel.paint(key, dataclasses.replace(SMALL, seed=1))
    assert easel.latest(key) is second
    assert {path.name for path in second.path.parent.iterdir()} == {"cat-mosaic.jpg", "after.view", "before.view"}


def test_removing_leaves_nothing(easel: Easel) -> None:
    key = upload(easel, "cat.jpg")
    easel.paint(key, SMALL)
    easel.remove(key)
    assert [path for path in easel.folder.rglob("*") if path.is_file()] == []
    with pytest.raises(KeyError):
        easel.latest(key)


def test_a_zip_of_all(easel: Easel) -> None:
    keys = [upload(easel, "cat.png", 0), upload(easel, "cat.png", 1), upload(easel, "dog.png", 2)]
    done: list[int] = []
    path, troubles = easel.archive(keys, SMALL, done.append)
    assert (path.name, troubles) == ("mosaic.zip", [])
    assert done == [1, 2, 3]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["cat-mosaic.png", "cat-mosaic-2.png", "dog-mosaic.png"]
        assert archive.read("dog-mosaic.png") == easel.latest(keys[2]).path.read_bytes()


def test_a_zip_holds_its_own_paintings(easel: Easel) -> None:
    """Whatever another tab has made of the same photos meanwhile."""
    keys = [upload(easel, "cat.png", 0), upload(easel, "dog.png", 1)]
    other = dataclasses.replace(SMALL, strength=0.0)
    before = easel.archive(keys, SMALL)[0].read_bytes()
    path, _ = easel.archive(keys, SMALL, lambda _: easel.archive(keys, other))
    with zipfile.ZipFile(io.BytesIO(before)) as first, zipfile.ZipFile(path) as second:
        assert [first.read(name) for name in first.namelist()] == [second.read(name) for name in second.namelist()]


def test_transparent_parts_are_white_on_the_page(easel: Easel) -> None:
    path = easel.folder / "x" / "cut.png"
    path.parent.mkdir()
    Image.new("RGBA", (40, 40), (200, 0, 0, 0)).save(path)
    made = easel.paint(easel.add(path).key, SMALL)
    for view in (made.before, made.view):
        assert Image.open(view).getextrema() == ((255, 255),) * 3


def test_a_photo_that_another_tab_took_away(easel: Easel) -> None:
    key = upload(easel, "cat.png")
    easel.remove(key)
    with pytest.raises(Stopped):
        easel.paint(key, SMALL)


def test_no_picture(easel: Easel) -> None:
    path = easel.folder / "x" / "note.jpg"
    path.parent.mkdir()
    path.write_text("a text")
    with pytest.raises(ImageError, match=r"^note.jpg: not a picture"):
        easel.add(path)
    assert not path.parent.exists()


def test_a_style_that_is_trained_on_is_read_again(easel: Easel, tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    own.write_bytes(SMALL.style.read_bytes())
    first = easel.style(own)
    assert easel.style(own) is first
    os.utime(own, (1, 1))
    assert easel.style(own) is not first


@pytest.mark.slow
def test_memory_stays_flat(easel: Easel) -> None:
    key = upload(easel, "cat.jpg")
    settings = dataclasses.replace(SMALL, size=192)
    for seed in range(8):
        easel.paint(key, dataclasses.replace(settings, seed=seed))
    before = used_memory(torch.device("cpu"))
    for seed in range(8, 38):
        easel.paint(key, dataclasses.replace(settings, seed=seed))
    assert used_memory(torch.device("cpu")) - before < 20 * 2**20
