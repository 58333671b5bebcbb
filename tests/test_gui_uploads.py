"""Files from a browser: names, limits, paths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image
from samples import corners, png

from texturenet.files import ImageError
from texturenet.gui import uploads


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("cat.jpg", "cat.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.jpg", "cat.jpg"),
        (".hidden.png", "hidden.png"),
        ("a\x00b\n.png", "ab.png"),
        ("..", "picture"),
        ("", "picture"),
        ("x" * 300 + ".jpeg", "x" * 80 + ".jpeg"),
        ("Größe 1.png", "Größe 1.png"),
    ],
)
def test_plain_name(sent: str, kept: str) -> None:
    assert uploads.plain_name(sent) == kept


def test_inside(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    (root / "checks").mkdir(parents=True)
    (root / "checks" / "1.jpg").write_text("1")
    (tmp_path / "secret").write_text("secret")
    (root / "checks" / "link").symlink_to(tmp_path / "secret")
    assert uploads.inside(root, "checks", "1.jpg").read_text() == "1"
    for parts in (("..", "secret"), ("checks", "../../secret"), ("checks", "link"), ("checks",), ("checks", "2.jpg")):
        with pytest.raises(FileNotFoundError):
            uploads.inside(root, *parts)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_receive(tmp_path: Path) -> None:
    path = asyncio.run(uploads.receive(chunks(b"ab", b"c"), tmp_path, "../x/cat.jpg"))
    assert path.read_bytes() == b"abc"
    assert path.name == "cat.jpg"
    assert path.parent.parent == tmp_path


def test_too_many_bytes_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^cat.jpg: more than 1 MB; make it smaller first$"):
        asyncio.run(uploads.receive(chunks(b"x" * 2**20, b"y"), tmp_path, "cat.jpg", most=2**20))
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "note.jpg").write_text("a text")
    (tmp_path / "huge.png").write_bytes(png(20_000, 10_000, 8, 0, b""))
    for name, why in (("note.jpg", "note.jpg: not a picture"), ("huge.png", "huge.png: 20000x10000 is over the limit")):
        with pytest.raises(ImageError, match=f"^{why}"):
            uploads.open_picture(tmp_path / name)


def test_open_picture_makes_no_small_one_larger(tmp_path: Path) -> None:
    corners((48, 32)).save(tmp_path / "a.png")
    assert uploads.open_picture(tmp_path / "a.png", 24).size == (24, 16)
    assert uploads.open_picture(tmp_path / "a.png", 240).size == (48, 32)


def test_result_suffix() -> None:
    assert [uploads.result_suffix(name) for name in ("a.JPG", "a.webp", "a.heic", "a")] == [
        ".jpg",
        ".webp",
        ".png",
        ".png",
    ]


def test_data_url_is_small() -> None:
    assert len(uploads.data_url(Image.new("RGB", (3000, 2000), "red"))) < 4000
