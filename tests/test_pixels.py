"""Every mode and colour space becomes 8-bit sRGB; what transparency hides is filled from around it."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from samples import BLUE, GREEN, RED, corners, png, swapped_profile

from texturenet import images, pixels


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


def test_hidden_pixels_take_the_colours_around_them() -> None:
    colours = Image.new("RGB", (31, 20), (0, 0, 0))
    colours.paste((200, 40, 40), (4, 0, 9, 20))
    colours.paste((40, 40, 200), (22, 0, 27, 20))
    alpha = Image.new("L", colours.size, 0)
    alpha.paste(255, (4, 0, 9, 20))
    alpha.paste(255, (22, 0, 27, 20))
    filled = np.asarray(pixels.fill_hidden(colours, alpha)).astype(int)
    assert (filled[:, 4:9] == (200, 40, 40)).all()
    assert abs(filled[:, :4] - (200, 40, 40)).max() < 40  # beside red it is red, beside blue blue
    assert abs(filled[:, 27:] - (40, 40, 200)).max() < 40
    assert abs(filled[:, 15] - (120, 40, 120)).max() < 40  # and a mixture half-way; black is nowhere
    assert filled.sum(-1).min() > 250


def test_soft_edges_keep_their_colours_but_for_rounding() -> None:
    ramp = Image.frombytes("L", (256, 1), bytes(range(256))).resize((256, 8))
    colours = Image.new("RGB", ramp.size, (10, 200, 30))
    colours.paste((255, 255, 0), (0, 0, 4, 8))  # what is left of a colour times an alpha of 1 to 3, in 8 bits
    filled = np.asarray(pixels.fill_hidden(colours, ramp)).astype(int)
    assert (filled[:, 16:] == (10, 200, 30)).all()
    assert abs(filled - (10, 200, 30)).max() < 60


def test_nothing_is_filled_where_all_shows_or_nothing_does() -> None:
    colours = corners()
    for level in (255, 0):
        filled = pixels.fill_hidden(colours, Image.new("L", colours.size, level))
        assert filled.tobytes() == colours.tobytes()


def test_from_srgb_undoes_the_way_in(tmp_path: Path) -> None:
    ramp = Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * i) for i in range(3)])
    ramp.save(tmp_path / "a.png", icc_profile=swapped_profile())
    back = pixels.from_srgb(images.open_image(tmp_path / "a.png"), swapped_profile())
    assert abs(np.asarray(back).astype(int) - np.asarray(ramp)).max() <= 3


def test_profiles_that_cannot_be_written() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert pixels.can_write(srgb)
    assert pixels.can_write(swapped_profile())
    assert not pixels.can_write(swapped_profile().replace(b"RGB ", b"GRAY", 1))
    assert not pixels.can_write(srgb.replace(b"RGB ", b"GRAY", 1))  # "sRGB" by its name
    assert not pixels.can_write(swapped_profile().replace(b"RGB ", b"CMYK", 1))
    assert not pixels.can_write(b"no profile at all")


def linear_profile() -> bytes:
    """sRGB's name and colours, but tones in proportion to light."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    curve = profile.find(b"para") + 12  # (a x + b)^g from d on, below that c x; in fixed point of 16 bits
    for i, number in enumerate((1, 1, 0, 1, 0)):  # g, a, b, c, d
        profile[curve + 4 * i : curve + 4 * i + 4] = (number << 16).to_bytes(4)
    return bytes(profile)


def test_a_linear_profile_may_be_called_srgb(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (55, 55, 55)).save(tmp_path / "a.png", icc_profile=linear_profile())
    assert abs(images.open_image(tmp_path / "a.png").getpixel((0, 0))[0] - 128) <= 1


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_profile_of_grey_counts_with_transparency_too(tmp_path: Path, mode: str) -> None:
    profile = linear_profile().replace(b"RGB ", b"GRAY", 1).replace(b"rTRC", b"kTRC", 1)
    profile = profile.replace("sRGB".encode("utf-16-be"), "grey".encode("utf-16-be"))
    Image.new("L", (4, 4), 55).convert(mode).save(tmp_path / "a.png", icc_profile=profile)
    assert abs(images.open_image(tmp_path / "a.png").getpixel((0, 0))[0] - 128) <= 1
