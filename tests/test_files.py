"""Files on a disk: all pictures below a folder, whatever lies there, and new files that are whole or not there."""

import errno
import os
from pathlib import Path

import pytest

from texturenet.files import ImageError, find_images, write_whole


def test_find_images_in_natural_order(tmp_path: Path) -> None:
    names = ["img10.jpg", "img2.JPG", "b/x.png", "a/deep/er/y.webp", "notes.txt", ".hidden.jpg", ".git/z.jpg", "README"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/deep/er/y.webp", "b/x.png", "img2.JPG", "img10.jpg"]


def test_find_images_follows_links_without_looping(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.jpg").touch()
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "loop").symlink_to(root)
    (root / "twin").symlink_to(root / "sub")
    (root / "away").symlink_to(outside)
    (root / "self.jpg").symlink_to("self.jpg")
    found = [path.relative_to(root).as_posix() for path in find_images(root)]
    assert found == ["away/a.jpg", "self.jpg"]


def test_find_images_says_what_is_wrong_with_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="no such folder"):
        find_images(tmp_path / "missing")
    with pytest.raises(ImageError, match="is a file"):
        find_images(tmp_path / "file")
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.jpg").touch()
    listing = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImageError, match="locked: no permission"):
        find_images(tmp_path)
    told: list[str] = []
    assert find_images(tmp_path, on_unreadable=lambda path, why: told.append(f"{path.name} {why}")) == [
        tmp_path / "a.jpg"
    ]
    assert len(told) == 1
    assert "no permission" in told[0]


def test_interrupted_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)  # when all is written and nothing yet renamed
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.png", b"new")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"a\.png: could not be saved"):
        write_whole(tmp_path / "file" / "a.png", b"new")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(OSError, match=r"b\.png: could not be saved"):
        write_whole(tmp_path / "b.png", b"new")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=r"c\.png: could not be saved: Permission denied"):
        write_whole(tmp_path / "c.png", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.png", "file"]


def test_saving_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    write_whole(tmp_path / "real.png", b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    write_whole(tmp_path / "link.png", b"new")
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "real.png").read_bytes() == b"new"


def test_a_link_to_itself_is_replaced(tmp_path: Path) -> None:
    """As any file that is no picture."""
    (tmp_path / "loop.png").symlink_to("loop.png")
    write_whole(tmp_path / "loop.png", b"a picture")
    assert (tmp_path / "loop.png").read_bytes() == b"a picture"


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    path = tmp_path / f"{'画' * 83}.png"  # 253 bytes
    write_whole(path, b"a picture")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
