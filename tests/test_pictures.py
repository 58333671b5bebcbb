"""What a file holds comes back: every format and mode, EXIF, profile, transparency, frames."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base
from samples import RED, WHITE, as_held, corners, swapped_profile

from texturenet.files import ImageError
from texturenet.pictures import Picture, load_picture, save_picture

SUFFIXES = (".jpg", ".png", ".webp", ".tif", ".gif", ".bmp")
LOSSY = {".jpg": 12, ".webp": 12, ".gif": 2}  # mean difference of 255 that a drawing of plain colours may show
HALF, HIDDEN = 128, 0  # alpha of the third and the fourth quarter from the left

# What each format can hold, as Pillow's modes; P+ is a palette with one transparent colour.
MATRIX = [
    *((".jpg", mode) for mode in ("RGB", "L", "CMYK")),
    *((".png", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "P+", "I;16", "1")),
    *((".webp", mode) for mode in ("RGB", "RGBA")),
    *((".tif", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "CMYK", "I;16")),
    *((".gif", mode) for mode in ("RGB", "L", "P", "P+")),
    *((".bmp", mode) for mode in ("RGB", "L", "P", "1")),
]


def sample(mode: str) -> tuple[Image.Image, Image.Image, np.ndarray | None]:
    """A picture of 32x24 in that mode, its colours in RGB, and its alpha (H, W) if it has one."""
    colours = corners((32, 24))
    alpha = Image.new("L", colours.size, 255)
    alpha.paste(HALF, (16, 0, 24, 24))
    alpha.paste(HIDDEN, (24, 0, 32, 24))
    if mode in ("L", "LA", "I;16", "1"):
        colours = colours.convert("L").point(lambda level: 255 * (level > 100) if mode == "1" else level)
        grey, colours = colours, colours.convert("RGB")
        if mode == "LA":
            grey.putalpha(alpha)
        if mode == "I;16":
            grey = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        return (grey.convert("1") if mode == "1" else grey), colours, np.asarray(alpha) if mode == "LA" else None
    if mode == "RGBA":
        stored = colours.copy()
        stored.putalpha(alpha)
        return stored, colours, np.asarray(alpha)
    if mode in ("P", "P+"):
        stored = colours.quantize(4)
        if mode == "P":
            return stored, colours, None
        stored.info["transparency"] = stored.getpixel((31, 23))
        return stored, colours, np.where((np.asarray(colours) == WHITE).all(-1), 0, 255)
    return colours.convert(mode), colours, None


def difference(one: Image.Image, other: Image.Image, where: np.ndarray | None = None) -> float:
    """Mean over pixels and channels, of 255; only `where` alpha is over 100."""
    levels = abs(np.asarray(one).astype(float) - np.asarray(other))
    return float((levels if where is None else levels[where > 100]).mean())


# ----------------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize(("source", "mode"), MATRIX)
def test_each_mode_of_each_format_into_each_format(
    tmp_path: Path, source: str, mode: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, colours, alpha = sample(mode)
    stored.save(tmp_path / f"a{source}")
    picture = load_picture(tmp_path / f"a{source}")
    assert len(picture.frames) == 1
    assert picture.frames[0].mode == "RGB"
    assert picture.frames[0].size == (32, 24)
    assert difference(picture.frames[0], colours, alpha) < max(0.5, LOSSY.get(source, 0))
    if alpha is None:
        assert picture.alphas is None
    else:
        assert picture.alphas is not None
        assert (np.asarray(picture.alphas[0]) == alpha).all()

    save_picture(picture, tmp_path / f"b{target}")
    with Image.open(tmp_path / f"b{target}") as again:
        assert again.size == (32, 24)
        if alpha is None or target in (".jpg", ".bmp"):
            page = Image.new("RGB", (32, 24), "white")
            page.paste(picture.frames[0], mask=picture.alphas[0] if picture.alphas else None)
            assert not again.has_transparency_data
            assert ("holds no transparency" in capsys.readouterr().err) == (alpha is not None)
            assert difference(again.convert("RGB"), page) < max(0.5, LOSSY.get(target, 0))
        else:
            kept = np.where(alpha > 127, 255, 0) if target == ".gif" else alpha
            assert (np.asarray(again.convert("RGBA"))[..., 3] == kept).all()
            assert difference(again.convert("RGB"), picture.frames[0], alpha) < max(0.5, LOSSY.get(target, 0))


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    corners().save(tmp_path / "a.jpg", "PNG")
    assert difference(load_picture(tmp_path / "a.jpg").frames[0], corners()) == 0


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_size_is_the_longer_side(tmp_path: Path, suffix: str) -> None:
    stored, _, _ = sample("RGB" if suffix == ".jpg" else "RGBA")
    stored.save(tmp_path / f"a{suffix}")
    for size, expected in ((16, (16, 12)), (48, (48, 36))):
        picture = load_picture(tmp_path / f"a{suffix}", size)
        assert picture.frames[0].size == expected
        assert picture.alphas is None or picture.alphas[0].size == expected
    with pytest.raises(ValueError, match="size is 0"):
        load_picture(tmp_path / f"a{suffix}", 0)


def test_quality_of_jpeg(tmp_path: Path) -> None:
    picture = Picture((Image.effect_noise((64, 64), 80).convert("RGB"),))
    for quality in (30, 95):
        save_picture(picture, tmp_path / f"{quality}.jpg", quality)
    assert (tmp_path / "30.jpg").stat().st_size < 0.6 * (tmp_path / "95.jpg").stat().st_size


def test_of_a_tiff_with_pages_the_first_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corners().save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("RGB", (9, 9))] * 2)
    picture = load_picture(tmp_path / "a.tif")
    assert [frame.size for frame in picture.frames] == [(48, 32)]
    assert capsys.readouterr().err == f"{tmp_path / 'a.tif'}: only the first of its 3 pages is read\n"


# -------------------------------------------------------------------------------------------------------------- EXIF


def camera_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    exif[Base.Make] = "Maker"
    exif[Base.XResolution] = 300.0
    exif.get_ifd(IFD.Exif).update({Base.ExposureTime: 0.01, Base.ExifImageWidth: 48, Base.ExifImageHeight: 32})
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (50.0, 1.0, 2.5)})
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_is_applied_and_the_rest_of_exif_kept(tmp_path: Path, suffix: str, orientation: int) -> None:
    as_held(corners(), orientation).save(tmp_path / f"a{suffix}", exif=camera_exif(orientation).tobytes())
    picture = load_picture(tmp_path / f"a{suffix}")
    assert picture.frames[0].size == (48, 32)
    assert difference(picture.frames[0], corners()) < 6
    for target in (".jpg", ".png", ".webp", ".tif"):
        save_picture(picture, tmp_path / f"b{target}")
        with Image.open(tmp_path / f"b{target}") as again:
            assert again.size == (48, 32)
            exif = again.getexif()
            assert exif.get(Base.Orientation, 1) == 1
            assert (exif[Base.Make], exif[Base.XResolution]) == ("Maker", 300)
            assert exif.get_ifd(IFD.Exif) == {Base.ExposureTime: 0.01}  # not the sizes, which may be others now
            assert exif.get_ifd(IFD.GPSInfo) == {1: "N", 2: (50, 1, 2.5)}


def test_the_layout_of_a_tiff_is_not_taken_for_exif(tmp_path: Path) -> None:
    corners().save(tmp_path / "a.tif", compression="tiff_lzw", software="Scanner")
    save_picture(load_picture(tmp_path / "a.tif"), tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as again:
        assert dict(again.getexif()) == {Base.Software: "Scanner"}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_dropped(tmp_path: Path) -> None:
    corners().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    picture = load_picture(tmp_path / "a.jpg")
    assert picture.exif is None
    save_picture(picture, tmp_path / "b.jpg")
    assert load_picture(tmp_path / "b.jpg").frames[0].size == (48, 32)


def test_exif_that_jpeg_cannot_hold_is_dropped(tmp_path: Path) -> None:
    exif = camera_exif()
    exif.get_ifd(IFD.Exif)[Base.MakerNote] = bytes(70_000)
    corners().save(tmp_path / "a.png", exif=exif.tobytes())
    save_picture(load_picture(tmp_path / "a.png"), tmp_path / "b.jpg")
    save_picture(load_picture(tmp_path / "a.png"), tmp_path / "b.png")
    assert load_picture(tmp_path / "b.jpg").exif is None
    assert load_picture(tmp_path / "b.png").exif is not None


# ---------------------------------------------------------------------------------------------------------- profiles


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_the_network_sees_srgb_and_the_file_keeps_its_profile(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (8, 8), RED).convert(mode).save(tmp_path / "a.png", icc_profile=swapped_profile())
    picture = load_picture(tmp_path / "a.png")
    red, _, blue = picture.frames[0].getpixel((4, 4))
    assert (red < 6, blue > 250) == (True, True)  # what the swapped profile calls red is blue
    for suffix in SUFFIXES:
        save_picture(picture, tmp_path / f"b{suffix}")
        with Image.open(tmp_path / f"b{suffix}") as again:
            red, _, blue = again.convert("RGB").getpixel((4, 4))
            if suffix in (".gif", ".bmp"):  # hold no profile: sRGB
                assert "icc_profile" not in again.info
                assert (red < 6, blue > 250) == (True, True)
            else:
                assert again.info["icc_profile"] == swapped_profile()
                assert (red > 249, blue < 6) == (True, True)


@pytest.mark.parametrize(("mode", "space"), [("L", b"GRAY"), ("CMYK", b"CMYK"), ("RGB", b"-no-")])
def test_a_profile_that_is_not_for_rgb_is_dropped(tmp_path: Path, mode: str, space: bytes) -> None:
    profile = swapped_profile().replace(b"RGB ", space, 1)
    Image.new("RGB", (8, 8), (77, 77, 77)).convert(mode).save(tmp_path / "a.jpg", icc_profile=profile)
    picture = load_picture(tmp_path / "a.jpg")
    assert picture.icc is None
    save_picture(picture, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as again:
        assert again.mode == "RGB"
        assert "icc_profile" not in again.info


# ------------------------------------------------------------------------------------------------------ transparency


def test_no_black_behind_the_visible(tmp_path: Path) -> None:
    cut_out = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    cut_out.paste((200, 60, 60, 255), (8, 8, 24, 24))
    cut_out.save(tmp_path / "a.png")
    picture = load_picture(tmp_path / "a.png")
    assert np.abs(np.asarray(picture.frames[0]).astype(int) - (200, 60, 60)).max() < 3


def test_alpha_follows_another_size() -> None:
    alpha = Image.new("L", (8, 4), 255)
    alpha.paste(0, (0, 0, 4, 4))
    picture = Picture((Image.new("RGB", (8, 4)),), (alpha,), exif=b"Exif", icc=b"profile")
    painted = picture.with_frames([Image.new("RGB", (16, 8), RED)])
    assert painted.alphas is not None
    assert painted.alphas[0].size == (16, 8)
    assert [painted.alphas[0].getpixel((x, 4)) for x in (1, 14)] == [0, 255]
    assert (painted.exif, painted.icc) == (b"Exif", b"profile")
    assert painted.frames[0].getpixel((0, 0)) == RED
    with pytest.raises(ValueError, match="2 frames for a picture of 1"):
        picture.with_frames([Image.new("RGB", (8, 4))] * 2)


# -------------------------------------------------------------------------------------------------------- animations

DURATIONS = (100, 200, 50)


def animation(path: Path, transparent: bool = False, **options: object) -> list[Image.Image]:
    """Three frames, the corners turned; written losslessly where the format can."""
    frames = [corners((32, 32)).rotate(90 * i) for i in range(3)]
    if transparent:
        for i, frame in enumerate(frames):
            alpha = Image.new("L", frame.size, 255)
            alpha.paste(0, (8 * i, 0, 8 * i + 8, 32))
            frame.putalpha(alpha)
    lossless = {"lossless": True, "exact": True} if path.suffix == ".webp" else {"quality": 100}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=DURATIONS, **lossless, **options)
    return frames


@pytest.mark.parametrize("source", [".gif", ".webp", ".png", ".avif"])
def test_animation_into_animation(tmp_path: Path, source: str) -> None:
    frames = animation(tmp_path / f"a{source}", loop=0)
    picture = load_picture(tmp_path / f"a{source}")
    assert len(picture.frames) == 3
    assert picture.durations == DURATIONS
    assert picture.loop == 0
    for mine, theirs in zip(picture.frames, frames, strict=True):
        assert difference(mine, theirs) < 6
    for target in (".gif", ".webp", ".png"):
        save_picture(picture, tmp_path / f"b{target}")
        again = load_picture(tmp_path / f"b{target}")
        assert again.durations == DURATIONS
        for mine, theirs in zip(again.frames, picture.frames, strict=True):
            assert difference(mine, theirs) < 6


@pytest.mark.parametrize("source", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("target", [".gif", ".webp", ".png"])
def test_transparent_animation(tmp_path: Path, source: str, target: str) -> None:
    frames = animation(tmp_path / f"a{source}", transparent=True, disposal=2 if source == ".gif" else 0)
    save_picture(load_picture(tmp_path / f"a{source}"), tmp_path / f"b{target}")
    again = load_picture(tmp_path / f"b{target}")
    assert again.alphas is not None
    for mine, theirs in zip(again.alphas, frames, strict=True):
        assert mine.tobytes() == theirs.getchannel("A").tobytes()


@pytest.mark.parametrize(("written", "plays"), [(None, 1), (0, 0), (2, 3)])  # GIF counts repetitions
def test_how_often_a_gif_is_played(tmp_path: Path, written: int | None, plays: int) -> None:
    animation(tmp_path / "a.gif", **({} if written is None else {"loop": written}))
    picture = load_picture(tmp_path / "a.gif")
    assert picture.loop == plays
    for target in (".gif", ".webp", ".png"):
        save_picture(picture, tmp_path / f"b{target}")
        assert load_picture(tmp_path / f"b{target}").loop == plays


def test_turned_animation(tmp_path: Path) -> None:
    frames = [as_held(corners(), 6), as_held(corners().rotate(180), 6)]
    exif = camera_exif(6).tobytes()
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True, exif=exif)
    picture = load_picture(tmp_path / "a.webp")
    assert difference(picture.frames[1], corners().rotate(180)) == 0
    save_picture(picture, tmp_path / "b.webp")
    assert [frame.size for frame in load_picture(tmp_path / "b.webp").frames] == [(48, 32)] * 2


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".bmp"])
def test_elsewhere_the_first_frame_is_written_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    frames = animation(tmp_path / "a.png")
    target = tmp_path / f"b{suffix}"
    save_picture(load_picture(tmp_path / "a.png"), target)
    assert difference(load_picture(target).frames[0], frames[0]) < 12
    line = capsys.readouterr().err
    assert line.startswith(f"{target}: ")
    assert "the first of 3 frames" in line
    assert line.count("\n") == 1


def test_long_animations_are_refused_or_made_smaller(tmp_path: Path) -> None:
    animation(tmp_path / "a.gif")
    with pytest.raises(ImageError, match=r"a\.gif: 3 frames of 32x32 are over the limit"):
        load_picture(tmp_path / "a.gif", max_pixels=3 * 32 * 32 - 1)
    assert len(load_picture(tmp_path / "a.gif", size=16, max_pixels=32 * 32).frames) == 3


def test_cut_animation_is_one_line(tmp_path: Path) -> None:
    content = io.BytesIO()
    frames = [Image.effect_noise((32, 32), 60 + i).convert("RGB") for i in range(3)]
    frames[0].save(content, "WEBP", save_all=True, append_images=frames[1:])
    (tmp_path / "a.webp").write_bytes(content.getvalue()[: len(content.getvalue()) * 2 // 3])
    with pytest.raises(ImageError, match=r"a\.webp"):
        load_picture(tmp_path / "a.webp")
