"""The door between picture files and tensors: every kind of file in, one kind of picture out, or one clear line."""

import errno
import io
import os
import resource
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from texturenet import images
from texturenet.images import ImageError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners(size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Four plain quarters, so that every turn and mirroring of the picture can be told from the corners."""
    picture = Image.new("RGB", size, RED)
    half = (size[0] // 2, size[1] // 2)
    picture.paste(GREEN, (half[0], 0, size[0], half[1]))
    picture.paste(BLUE, (0, half[1], half[0], size[1]))
    picture.paste(WHITE, (half[0], half[1], *size))
    return picture


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """(1, 3, H, W) whose values are exact in 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator) / 255


def error_line(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        images.load_image(path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    return line


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG made by hand: what Pillow does not write (16-bit colour) or would refuse to (a lie about the size)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ------------------------------------------------------------------------------------------------------------- modes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = corners()
    undo = {  # how a camera that is held this way stores the upright scene
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = orientation
    stored.save(tmp_path / f"photo{suffix}", exif=exif)
    image = images.load_image(tmp_path / f"photo{suffix}")
    assert image.shape == (1, 3, 32, 48)
    assert (image - images.to_tensor(upright)).abs().mean() < 0.02
    assert images.load_image(tmp_path / f"photo{suffix}", size=24).shape == (1, 3, 16, 24)


def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    corners().save(tmp_path / "photo.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert images.load_image(tmp_path / "photo.jpg").shape == (1, 3, 32, 48)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_over_white(tmp_path: Path, mode: str) -> None:
    picture = Image.new(mode, (3, 1), 0)  # black; alpha 0, 51, 255 from left to right
    picture.putalpha(Image.frombytes("L", (3, 1), bytes([0, 51, 255])))
    picture.save(tmp_path / "a.png")
    image = images.load_image(tmp_path / "a.png")
    assert torch.allclose(image, torch.tensor([1.0, 0.8, 0.0]).expand(1, 3, 1, 3), atol=0.005)


def test_palette_with_transparency(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.putdata([0, 1, 2])
    picture.save(tmp_path / "one.gif", transparency=1)
    picture.save(tmp_path / "many.png", transparency=bytes([255, 0, 255]))
    expected = torch.tensor([[1.0, 0, 0], [1, 1, 1], [0, 0, 1]]).T.reshape(1, 3, 1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(images.load_image(tmp_path / "one.gif"), expected)
        assert torch.equal(images.load_image(tmp_path / "many.png"), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB"])
def test_plain_modes(tmp_path: Path, mode: str) -> None:
    suffix = ".png" if mode in ("1", "L", "P", "RGB") else ".tif"
    grey = Image.new("RGB", (5, 4), (255, 255, 255))
    if mode == "LAB":
        picture = Image.merge("LAB", [Image.new("L", (5, 4), value) for value in (255, 128, 128)])
    else:
        picture = grey.convert(mode)
    picture.save(tmp_path / f"a{suffix}")
    image = images.load_image(tmp_path / f"a{suffix}")
    assert image.shape == (1, 3, 4, 5)
    assert image.dtype == torch.float32
    assert image.min() > 0.99


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    corners((64, 64)).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    image = images.load_image(tmp_path / "print.jpg")
    assert (image - images.to_tensor(corners((64, 64)))).abs().mean() < 0.05


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    expected = torch.from_numpy(values.astype(np.float32) / 65535).expand(1, 3, 16, 16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        assert torch.allclose(images.load_image(tmp_path / name), expected, atol=0.003), name
    (tmp_path / "a.pgm").write_bytes(b"P5 16 16 65535\n" + values.astype(">u2").tobytes())
    assert torch.allclose(images.load_image(tmp_path / "a.pgm"), expected, atol=0.003)
    Image.fromarray(values // 4).save(tmp_path / "dark.png")
    assert torch.allclose(images.load_image(tmp_path / "dark.png"), expected / 4, atol=0.003)


def test_16_bit_colour(tmp_path: Path) -> None:
    values = np.array([[0, 32768, 65535]], dtype=">u2")  # one pixel: black red, half green, full blue
    (tmp_path / "deep.png").write_bytes(png(1, 1, bits=16, colour=2, rows=b"\0" + values.tobytes()))
    assert torch.allclose(images.load_image(tmp_path / "deep.png").flatten(), torch.tensor([0.0, 0.5, 1.0]), atol=0.005)


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0, 1e6])
def test_float_tiff_spans_its_range(tmp_path: Path, top: float) -> None:
    ramp = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    expected = torch.from_numpy(ramp / top).expand(1, 3, 8, 8)
    assert torch.allclose(images.load_image(tmp_path / "a.tif"), expected, atol=0.003)


def test_float_tiff_with_nan_and_negative(tmp_path: Path) -> None:
    Image.fromarray(np.array([[np.nan, -1, 0.5, 1]], dtype=np.float32)).save(tmp_path / "a.tif")
    image = images.load_image(tmp_path / "a.tif")
    assert torch.allclose(image[0, 0], torch.tensor([[0, 0, 0.5, 1]]), atol=0.005)


def swapped_profile() -> bytes:
    """A space like sRGB, but its first channel is the blue light and its third the red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"----", b"bXYZ", 1)
    return profile.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_embedded_profile_is_converted_to_srgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (4, 4), RED).convert(mode).save(tmp_path / "a.png", icc_profile=swapped_profile())
    pixel = images.load_image(tmp_path / "a.png")[0, :, 0, 0]
    assert torch.allclose(pixel, torch.tensor([0.0, 0, 1]), atol=0.02)


def test_profile_of_no_use_is_ignored(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (10, 20, 30)).save(tmp_path / "b.png", icc_profile=b"no profile at all")
    assert images.open_image(tmp_path / "b.png").getpixel((0, 0)) == (10, 20, 30)
    for mode, pixel in (("L", 77), ("CMYK", (0, 0, 0, 178))):  # a profile that is made for RGB
        Image.new(mode, (8, 8), pixel).save(tmp_path / "c.jpg", icc_profile=swapped_profile())
        assert images.open_image(tmp_path / "c.jpg").getpixel((0, 0)) == (77, 77, 77)


def test_lab(tmp_path: Path) -> None:
    Image.merge("LAB", [Image.new("L", (4, 4), 128)] * 3).save(tmp_path / "a.tif")
    assert abs(float(images.load_image(tmp_path / "a.tif").mean()) - 0.466) < 0.01  # L* = 50 is sRGB 119


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert images.open_image(tmp_path / name).getpixel((1, 1)) == RED, name


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    corners().save(tmp_path / "a.jpg", "PNG")
    assert images.load_image(tmp_path / "a.jpg").shape == (1, 3, 32, 48)


def test_nothing_of_the_file_clings_to_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = 6
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    corners().save(tmp_path / "a.jpg", exif=exif, icc_profile=srgb)
    picture = images.open_image(tmp_path / "a.jpg")
    assert picture.info == {}
    images.save_image(picture, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as again:
        assert again.size == picture.size == (32, 48)
        assert images.EXIF_ORIENTATION not in again.getexif()


# ------------------------------------------------------------------------------------------------------- bad files


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
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    assert "phone.heic" in error_line(tmp_path / "phone.heic")


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
    monkeypatch.setattr(images, "PILLOWS_LIMIT", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.load_image(tmp_path / "a.tif").shape == (1, 3, 32, 48)


# ------------------------------------------------------------------------------------------------------------ sizes


def test_one_pixel(tmp_path: Path) -> None:
    images.save_image(torch.full((1, 3, 1, 1), 0.2), tmp_path / "a.png")
    assert torch.equal(images.load_image(tmp_path / "a.png"), torch.full((1, 3, 1, 1), 0.2))
    assert images.load_image(tmp_path / "a.png", size=7).shape == (1, 3, 7, 7)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 120), suffix=st.sampled_from("jp"))
def test_size_is_the_longer_side_and_the_aspect_stays(
    tmp_path: Path, height: int, width: int, size: int, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}{'pg' if suffix == 'j' else 'ng'}"
    Image.new("RGB", (width, height), (200, 100, 50)).save(path)
    image = images.load_image(path, size=size)
    h, w = image.shape[-2:]
    assert max(h, w) == size
    assert abs(min(h, w) - max(1, size * min(height, width) / max(height, width))) <= 0.5
    assert (image.mean((0, 2, 3)) - torch.tensor([200, 100, 50]) / 255).abs().max() < 0.02


def test_no_size_of_zero(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="size is 0"):
        images.load_image(tmp_path / "a.png", size=0)


def test_jpeg_is_decoded_no_larger_than_needed(tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((800, 600)).convert("RGB").save(tmp_path / "a.jpg")
    assert images.open_image(tmp_path / "a.jpg").size == (800, 600)
    assert images.open_image(tmp_path / "a.jpg", shorter_side=150).size == (200, 150)
    assert images.open_image(tmp_path / "a.jpg", longer_side=400).size == (400, 300)
    assert images.open_image(tmp_path / "a.jpg", longer_side=401).size == (800, 600)
    exact = images.resize(images.load_image(tmp_path / "a.jpg"), 100)
    assert (images.load_image(tmp_path / "a.jpg", size=100) - exact).abs().max() < 0.03


def test_resize() -> None:
    image = noise(20, 30)
    assert images.resize(image, (7, 9)).shape == (1, 3, 7, 9)
    assert images.resize(image, 15).shape == (1, 3, 10, 15)
    assert images.resize(image, (20, 30)) is image
    assert float(images.resize(image, 60).max()) <= 1


# ------------------------------------------------------------------------------------------- tensors, saving, sheets


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 40), width=st.integers(1, 40), suffix=st.sampled_from([".png", ".tif", ".bmp"]))
def test_save_then_load_is_exact(tmp_path: Path, height: int, width: int, suffix: str) -> None:
    image = noise(height, width)
    images.save_image(image, tmp_path / f"a{suffix}")
    assert torch.equal(images.load_image(tmp_path / f"a{suffix}"), image)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_save_lossy(tmp_path: Path, suffix: str) -> None:
    image = images.to_tensor(corners())
    images.save_image(image, tmp_path / "new" / "folders" / f"a{suffix}")
    assert (images.load_image(tmp_path / "new" / "folders" / f"a{suffix}") - image).abs().mean() < 0.02


def test_to_pil_clamps_and_rounds() -> None:
    values = torch.tensor([-1.0, 0.5, 2.0, float("nan")]).expand(3, 1, 4)
    picture = images.to_pil(values.double())
    assert [picture.getpixel((x, 0))[0] for x in range(4)] == [0, 128, 255, 0]  # type: ignore[index]


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 1, 4, 4), (4, 4), (3, 0, 4)])
def test_to_pil_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no picture"):
        images.to_pil(torch.zeros(shape))


def test_unknown_suffix_lists_the_known(tmp_path: Path) -> None:
    for name in ("a.xyz", "a"):
        with pytest.raises(ImageError, match=r"\.png, \.jpg"):
            images.save_image(noise(2, 2), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_too_long_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"16383.*\.png"):
        images.save_image(Image.new("RGB", (20_000, 1)), tmp_path / "a.webp")


def test_transparent_picture_as_jpeg_lies_over_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    images.save_image(clear, tmp_path / "a.jpg")
    assert images.load_image(tmp_path / "a.jpg").min() > 0.99
    images.save_image(clear, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as again:
        assert again.mode == "RGBA"


@pytest.mark.parametrize("suffix", list(images.SAVE_FORMATS))
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


def test_interrupted_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)  # when all is written and nothing yet renamed
    with pytest.raises(KeyboardInterrupt):
        images.save_image(noise(8, 8), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"a\.png: could not be saved"):
        images.save_image(noise(8, 8), tmp_path / "file" / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(OSError, match=r"b\.png: could not be saved"):
        images.save_image(noise(8, 8), tmp_path / "b.png")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=r"c\.png: could not be saved: Permission denied"):
        images.save_image(noise(8, 8), tmp_path / "c.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.png", "file"]


def test_saving_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    images.save_image(noise(2, 2), tmp_path / "real.png")
    (tmp_path / "link.png").symlink_to("real.png")
    images.save_image(noise(3, 3), tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert images.image_size(tmp_path / "real.png") == (3, 3)


def test_sheet_places_pictures_on_white() -> None:
    black, grey = torch.zeros(1, 3, 10, 20), torch.full((3, 6, 8), 0.6)
    plain = images.sheet([[black, grey], [grey]], gap=4)
    assert plain.shape == (1, 3, 4 + 10 + 4 + 6 + 4, 4 + 20 + 4 + 8 + 4)
    assert plain[..., :4, :].min() == 1
    assert plain[..., 4:14, 4:24].max() == 0
    assert torch.allclose(plain[..., 4:10, 28:36], torch.tensor(0.6))
    assert torch.allclose(plain[..., 18:24, 4:12], torch.tensor(0.6))
    assert plain[..., 18:24, 28:].min() == 1
    titled = images.sheet([[black, grey]], titles=["photo", "noise 0.25"])
    assert titled[..., : titled.shape[-2] - 14, :].min() < 0.5  # text over the pictures
    assert titled.shape[-1] > 4 + 20 + 4 + 8 + 4  # the second title is wider than its picture
    with pytest.raises(ValueError, match="at least one picture"):
        images.sheet([[], []])


# ---------------------------------------------------------------------------------------------------------- folders


def test_find_images_in_natural_order(tmp_path: Path) -> None:
    names = ["img10.jpg", "img2.JPG", "b/x.png", "a/deep/er/y.webp", "notes.txt", ".hidden.jpg", ".git/z.jpg", "README"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in images.find_images(tmp_path)]
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
    found = [path.relative_to(root).as_posix() for path in images.find_images(root)]
    assert found == ["away/a.jpg", "self.jpg"]
    error_line(root / "self.jpg")


def test_find_images_says_what_is_wrong_with_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="no such folder"):
        images.find_images(tmp_path / "missing")
    with pytest.raises(ImageError, match="is a file"):
        images.find_images(tmp_path / "file")
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.jpg").touch()
    listing = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImageError, match="locked: no permission"):
        images.find_images(tmp_path)
    told: list[str] = []
    assert images.find_images(tmp_path, on_unreadable=lambda path, why: told.append(f"{path.name} {why}")) == [
        tmp_path / "a.jpg"
    ]
    assert len(told) == 1
    assert "no permission" in told[0]
