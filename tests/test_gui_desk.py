"""What was chosen outlives the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from texturenet.gui.desk import FILE, Desk
from texturenet.gui.texture import Crop


def test_round_trip(tmp_path: Path, texture_path: Path) -> None:
    desk = Desk(tmp_path, "photos", str(texture_path), Crop(0.5, 0.25, 1), 384, True)
    desk.save()
    assert Desk.at(tmp_path) == desk


def test_a_texture_that_is_gone_is_not_chosen(tmp_path: Path) -> None:
    for gone in ("nowhere.jpg", f"{'a' * 300}.jpg"):  # a name too long can't even be looked up
        Desk(tmp_path, "photos", gone).save()
        assert Desk.at(tmp_path) == Desk(tmp_path, "photos", "")


@pytest.mark.parametrize("content", ["", "[]", '{"crop": {}, "colour": 3}', '{"crop": 3}', "\0"])
def test_a_damaged_file_is_an_empty_desk(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(content)
    assert Desk.at(tmp_path) == Desk(tmp_path)
