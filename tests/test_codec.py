"""Pillow made safe: each kind of bad file has its line, nothing too large is decoded, no write is half done."""

import errno
import io
import os
import resource
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import corners, noise, png

from texturenet import codec, images, pictures
from texturenet.files import ImageError


def error_line(path: Path) -> str:
    """The same through both doors."""
    lines = []
    for load in (images.load_image, pictures.load_picture):
        with pytest.raises(ImageError) as caught:
            load(path)
        lines.append(str(caught.value))
    assert lines[0] == lines[1]
    assert "\n" not in lines[0]
    assert str(path) in lines[0]
    return lines[0]


def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    corners().save(tmp_path / "photo.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert images.load_image(tmp_path / "photo.jpg").shape == (1, 3, 32, 48)


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    corners().save(tmp_path / "a.jpg", "PNG")
    assert images.load_image(tmp_path / "a.jpg").shape == (1, 3, 32, 48)


def test_each_kind_of_bad_file_has_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("this is not a picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a picture" in error_line(tmp_path / "text.jpg")
    assert "empty" in error_line(tmp_path / "empty.png")
    assert "a folder" in error_line(tmp_path / "folder.jpg")
    assert "no such file" in error_line(tmp_path / "missing.jpg")
    assert "no regular file" in error_line(tmp_path / "pipe.jpg")


def test_heic_names_the_plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_formats", lambda: ("JPEG", "PNG"))  # as where the plug-in is missing
    for name in ("phone.heic", "mailed.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
        assert "pip install pillow-heif" in error_line(tmp_path / name)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corners().save(tmp_path / "a.png")

    def refuse(*_args: object, **_kwargs: object) -> None:  # root may read everything: chmod would prove nothing
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "no permission" in error_line(tmp_path / "a.png")


def test_a_failing_disk_is_told_from_a_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corners().save(tmp_path / "a.png")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Image, "open", fail)
    assert "Input/output error" in error_line(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_file(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"whole{suffix}"
    images.to_pil(noise(64, 64)).save(path)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    error_line(cut)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".jpg", ".png", ".webp", ".tif", ".gif"]), data=st.data())
@pytest.mark.filterwarnings("ignore")  # Pillow comments on some of the damage
def test_damaged_bytes_give_a_picture_or_one_line(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    file = io.BytesIO()
    corners((16, 16)).save(file, Image.registered_extensions()[suffix])
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    try:
        assert images.open_image(path, max_pixels=10**6).mode == "RGB"
        assert pictures.load_picture(path, max_pixels=10**6).frames[0].mode == "RGB"
    except ImageError as error:
        assert "\n" not in str(error)


def test_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, bits=8, colour=2, rows=b"\0" * 100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line = error_line(tmp_path / "bomb.png")
    assert "60000x60000" in line
    assert "200 million" in line


def test_108_megapixels_pass_the_header_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png(12_000, 9_000, bits=1, colour=0, rows=b"\0" * 100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.image_size(tmp_path / "large.png") == (9_000, 12_000)


def test_pillows_own_limit_is_put_back_by_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corners().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)  # set by somebody else in this process

    def work() -> None:
        for _ in range(50):
            images.open_image(tmp_path / "a.png")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Image.MAX_IMAGE_PIXELS == 12345
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (tmp_path / "large.png").write_bytes(png(12_000, 9_000, bits=1, colour=0, rows=b"\0" * 100))
        images.image_size(tmp_path / "large.png")


def test_large_tiff_is_decoded_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corners().save(tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # of 1536: as 108 MP are to Pillow's 89
    monkeypatch.setattr(codec, "PILLOWS_LIMIT", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.load_image(tmp_path / "a.tif").shape == (1, 3, 32, 48)


def test_jpeg_is_decoded_no_larger_than_needed(tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((800, 600)).convert("RGB").save(tmp_path / "a.jpg")
    assert images.open_image(tmp_path / "a.jpg").size == (800, 600)
    assert images.open_image(tmp_path / "a.jpg", shorter_side=150).size == (200, 150)
    assert images.open_image(tmp_path / "a.jpg", longer_side=400).size == (400, 300)
    assert images.open_image(tmp_path / "a.jpg", longer_side=401).size == (800, 600)
    exact = images.resize(images.load_image(tmp_path / "a.jpg"), 100)
    assert (images.load_image(tmp_path / "a.jpg", size=100) - exact).abs().max() < 0.03


def test_unknown_suffix_lists_the_known(tmp_path: Path) -> None:
    for name in ("a.xyz", "a"):
        with pytest.raises(ImageError, match=r"\.png, \.jpg"):
            images.save_image(noise(2, 2), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_too_long_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"16383.*\.png"):
        images.save_image(Image.new("RGB", (20_000, 1)), tmp_path / "a.webp")


@pytest.mark.parametrize("suffix", list(codec.SAVE_FORMATS))
def test_full_disk_leaves_the_old_file_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    images.save_image(noise(8, 8), path)
    old = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # a write that goes past it fails, as on a full disk
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            images.save_image(noise(200, 200), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"{path}: could not be saved")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
