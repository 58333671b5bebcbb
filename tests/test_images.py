"""The door between picture files and tensors: every kind of file in, one kind of picture out."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.ExifTags import Base
from samples import BLUE, RED, as_held, corners, noise

from texturenet import images


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = corners()
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    as_held(upright, orientation).save(tmp_path / f"photo{suffix}", exif=exif)
    image = images.load_image(tmp_path / f"photo{suffix}")
    assert image.shape == (1, 3, 32, 48)
    assert (image - images.to_tensor(upright)).abs().mean() < 0.02
    assert images.load_image(tmp_path / f"photo{suffix}", size=24).shape == (1, 3, 16, 24)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert images.open_image(tmp_path / name).getpixel((1, 1)) == RED, name


def test_nothing_of_the_file_clings_to_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    corners().save(tmp_path / "a.jpg", exif=exif, icc_profile=srgb)
    picture = images.open_image(tmp_path / "a.jpg")
    assert picture.info == {}
    images.save_image(picture, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as again:
        assert again.size == picture.size == (32, 48)
        assert Base.Orientation not in again.getexif()


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


def test_resize() -> None:
    image = noise(20, 30)
    assert images.resize(image, (7, 9)).shape == (1, 3, 7, 9)
    assert images.resize(image, 15).shape == (1, 3, 10, 15)
    assert images.resize(image, (20, 30)) is image
    assert float(images.resize(image, 60).max()) <= 1


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


def test_transparent_picture_as_jpeg_lies_over_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    images.save_image(clear, tmp_path / "a.jpg")
    assert images.load_image(tmp_path / "a.jpg").min() > 0.99
    images.save_image(clear, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as again:
        assert again.mode == "RGBA"


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
