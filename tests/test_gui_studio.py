"""All that a server has at hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_monitor import event

from texturenet.gui.pace import Speed
from texturenet.gui.studio import Studio
from texturenet.gui.texture import Crop
from texturenet.gui.training import Order
from texturenet.monitor import JsonlLog


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "runs", tmp_path / "checkpoints")
    yield studio
    studio.close()


def test_nothing_starts_before_all_is_chosen(studio: Studio, texture_path: Path) -> None:
    for texture in ("", str(texture_path)):
        studio.desk.texture = texture
        with pytest.raises(ValueError, match=r"^Choose photos and a texture first\.$"):
            studio.start_training("", "quick", {})
    studio.measure()
    assert studio.trainings.status() is None


def test_the_texture_is_cropped(studio: Studio, texture_path: Path) -> None:
    studio.choose_texture(texture_path)
    studio.desk.crop = Crop(0.5)
    texture = studio.texture()
    assert texture is not None
    assert texture.size == (24, 24)


def test_an_example_photo(studio: Studio, photo_dir: Path) -> None:
    (photo_dir / "0.png").write_text("a text")
    studio.desk.data_dir = str(photo_dir)
    photo = studio.example_photo()
    assert photo is not None
    assert photo.size == (64, 48)


def test_a_disk_that_is_unplugged(studio: Studio, photo_dir: Path, texture_path: Path) -> None:
    studio.desk.data_dir = str(photo_dir)
    studio.choose_texture(texture_path)
    assert studio.example_photo() is not None and studio.texture() is not None
    photo_dir.rename(photo_dir.with_name("elsewhere"))
    texture_path.unlink()
    assert studio.example_photo() is None and studio.texture() is None
    studio.desk.data_dir = str(photo_dir.with_name("never"))
    assert studio.example_photo() is None
    photo_dir.with_name("elsewhere").rename(photo_dir)
    studio.desk.data_dir = str(photo_dir)
    assert studio.example_photo() is not None


def test_rows_follow_the_log(studio: Studio) -> None:
    assert studio.rows("checks") == []
    log = JsonlLog(studio.run_dir / "checks" / "log.jsonl")
    log.on_step(event(1))
    assert len(studio.rows("checks")) == 1
    log.on_step(event(2))
    assert [row["step"] for row in studio.rows("checks")] == [1, 2]
    assert studio.previews("checks") == []
    log.close()


@pytest.mark.parametrize(
    ("flags", "known"),
    [({"image_size": 256}, True), ({"image_size": 64}, False), ({"image_size": 256, "grow_from": 128}, False)],
)
def test_speed_of_a_running_training(studio: Studio, flags: dict[str, int], known: bool) -> None:
    order = Order("checks", "checks.png", "photos", flags)
    log = JsonlLog(studio.run_dir / "checks" / "log.jsonl")
    log.on_step(event(1))  # 12.34 photos a second
    log.close()
    (studio.run_dir / "checks" / "order.json").write_text(json.dumps(dataclasses.asdict(order)))
    studio.learn_speed("checks")
    assert studio.speed == (Speed(12.34 * 256**2, 0.0) if known else None)


def test_uploads_go_with_the_server(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    (studio.temporary / "photo.png").write_text("x")
    studio.close()
    assert not studio.temporary.exists()
