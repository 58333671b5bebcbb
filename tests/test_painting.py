"""painting.py: what the flags of a look mean for files."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import picture
from PIL import ExifTags, Image
from test_stylizer import save_style
from torch import Tensor

from texturenet import blending, checkpoint, codec, folders, images, painting, pictures, styles, video
from texturenet.folders import Work
from texturenet.look import Look
from texturenet.painting import Painter, Painting, Photo
from texturenet.stylizer import Stylizer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo of 48x40 px, a mask of its left half, two styles, in the current folder."""
    for seed, name in enumerate(("amber", "weave")):
        save_style(tmp_path / f"{name}.pt", seed)
    images.save_image(picture(40, 48), tmp_path / "photo.png")
    mask = Image.new("L", (48, 40))
    mask.paste(255, (0, 0, 24, 40))
    images.save_image(mask, tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


AMBER, WEAVE = Path("amber.pt"), Path("weave.pt")


def paint(look: Look, *models: Path, size: int | None = None, seed: int = 0) -> Tensor:
    """The photo through a painter, as it is read from the result's file."""
    Painter(models or (AMBER,), look, seed)(Path("photo.png"), Path("result.png"), size)
    return images.load_image("result.png")


def alone(model: Path = AMBER, seed: int = 0) -> Tensor:
    return Stylizer(model)(images.load_image("photo.png"), seed)


def assert_same(a: Tensor, b: Tensor) -> None:
    """But for the rounding to 8 bits."""
    assert a.shape == b.shape
    torch.testing.assert_close(a, b, atol=0.51 / 255, rtol=0)


@pytest.mark.usefixtures("folder")
def test_a_look_without_wishes_is_the_style() -> None:
    assert_same(paint(Look()), alone())
    assert_same(paint(Look(), seed=4), alone(seed=4))
    assert paint(Look(), size=24).shape == (1, 3, 20, 24)


@pytest.mark.usefixtures("folder")
def test_a_look_reaches_the_style() -> None:
    photo = images.load_image("photo.png")
    assert torch.equal(paint(Look(strength=0)), photo)
    assert_same(paint(Look(preserve_color="hist")), blending.match_colors(photo, alone()))
    assert_same(paint(Look(noise_factor=0, work_size=24)), Stylizer(AMBER)(photo, noise_factor=0, work_size=24))


@pytest.mark.usefixtures("folder")
def test_transparency_and_exif_come_back() -> None:
    """All of it is tested in test_pictures.py."""
    cut_out = images.to_pil(picture(40, 48))
    cut_out.putalpha(Image.open("mask.png"))
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A. Painter"
    cut_out.save("cut.png", exif=exif)
    Painter([AMBER], Look())(Path("cut.png"), Path("result.webp"))
    with Image.open("result.webp") as result:
        assert result.getchannel("A").getextrema() == (0, 255)
        assert result.getexif()[ExifTags.Base.Artist] == "A. Painter"
    Painter([AMBER], Look(compare=True))(Path("cut.png"), Path("result.png"))
    with Image.open("result.png") as result:
        assert result.mode == "RGB"


@pytest.mark.usefixtures("folder")
def test_the_noise_is_the_same_for_all_frames() -> None:
    still, other = (images.to_pil(picture(40, 48, seed)) for seed in (0, 1))
    still.save("moving.png", save_all=True, append_images=[other, still], duration=[100, 200, 300])
    Painter([AMBER], Look())(Path("moving.png"), Path("result.png"))
    frames = pictures.load_picture("result.png").frames
    assert len(frames) == 3
    assert frames[0].tobytes() == frames[2].tobytes() != frames[1].tobytes()


@pytest.mark.usefixtures("folder")
def test_inside_outside_and_two_styles() -> None:
    photo, mask = images.load_image("photo.png"), Path("mask.png")
    inside = paint(Look(mask=mask))
    assert_same(inside[..., :24], alone()[..., :24])
    assert torch.equal(inside[..., 24:], photo[..., 24:])
    outside = paint(Look(mask=mask, mask_invert=True))
    assert torch.equal(outside[..., :24], photo[..., :24])
    assert_same(outside[..., 24:], alone()[..., 24:])
    both = paint(Look(mask=mask), AMBER, WEAVE)
    assert_same(both, torch.cat([alone(AMBER)[..., :24], alone(WEAVE)[..., 24:]], dim=-1))


def test_a_mask_marks_nothing_where_it_is_transparent(folder: Path) -> None:
    marked = paint(Look(mask=Path("mask.png")))
    white = Image.new("RGBA", (48, 40), (255, 255, 255, 0))
    white.paste((255, 255, 255, 255), (0, 0, 24, 40))
    white.save(folder / "mask.png")
    assert torch.equal(paint(Look(mask=Path("mask.png"))), marked)


def test_a_mask_of_0_and_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marked = paint(Look(mask=Path("mask.png")))
    Image.open("mask.png").point(lambda value: value // 255).save(folder / "mask.png")
    assert torch.equal(paint(Look(mask=Path("mask.png"))), marked)
    assert capsys.readouterr().err == "mask.png: a mask with values of 0 and 1 alone: 1 is taken as white\n"


def test_a_folder_of_masks(folder: Path) -> None:
    (folder / "masks").mkdir()
    (folder / "mask.png").rename(folder / "masks" / "photo.png")
    images.save_image(picture(16, 16), folder / "masks" / "another.png")
    assert torch.equal(paint(Look(mask=Path("masks")))[..., 24:], images.load_image("photo.png")[..., 24:])
    images.save_image(picture(48, 40), folder / "masks" / "photo.jpg")
    with pytest.raises(ValueError, match=r"masks/photo.jpg and masks/photo.png are both called so; leave one"):
        paint(Look(mask=Path("masks")))
    (folder / "masks" / "photo.jpg").unlink()
    (folder / "masks" / "photo.png").unlink()
    with pytest.raises(ValueError, match=r"photo.png: no mask of that name in masks: add photo.png"):
        paint(Look(mask=Path("masks")))


@pytest.fixture
def segments(folder: Path) -> Path:
    """A person on the left half of photo.png, and nobody on empty.png."""
    polygon = [[0, 0, 24, 0, 24, 40, 0, 40]]
    people = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": polygon, "area": 960, "iscrowd": 0}
    content = {
        "categories": [{"id": 1, "name": "person"}],
        "images": [
            {"id": i, "file_name": name, "height": 40, "width": 48} for i, name in ((1, "photo.png"), (2, "empty.png"))
        ],
        "annotations": [people],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return Path("instances.json")


def test_segments_are_a_mask(segments: Path) -> None:
    result = paint(Look(segments=segments, segments_category="person"))
    assert torch.equal(result, paint(Look(mask=Path("mask.png"))))


def test_a_picture_without_the_category_says_so(segments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.save_image(picture(40, 48, 2), "empty.png")
    painter = Painter([AMBER], Look(segments=segments, segments_category="person"))
    painter(Path("empty.png"), Path("result.png"))
    assert torch.equal(images.load_image("result.png"), images.load_image("empty.png"))
    assert capsys.readouterr().err == "empty.png: nothing is marked in instances.json\n"


@pytest.mark.usefixtures("folder")
def test_photo_and_painting_side_by_side() -> None:
    sheet = paint(Look(compare=True))
    assert sheet.shape == (1, 3, 40 + 8, 2 * 48 + 12)
    assert torch.equal(sheet[..., 4:44, 4:52], images.load_image("photo.png"))
    assert_same(sheet[..., 4:44, 56:104], alone())


@pytest.mark.usefixtures("folder")
def test_side_by_side_what_is_transparent_is_white() -> None:
    cut_out = images.to_pil(picture(40, 48))
    cut_out.putalpha(Image.new("L", (48, 40)))  # nothing shows
    cut_out.save("cut.png")
    Painter([AMBER], Look(compare=True))(Path("cut.png"), Path("result.png"))
    assert (images.load_image("result.png")[..., :40, :48] == 1).all()


@pytest.mark.usefixtures("folder")
def test_what_no_format_holds_is_refused_before_it_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codec.SAVE_FORMATS, ".webp", ("WEBP", 90))
    painter = Painter([AMBER], Look(compare=True))
    monkeypatch.setattr(painter, "paint", None)
    with pytest.raises(ValueError, match=r"result.webp: 96x40 is too long for WEBP \(90 a side\): save as .png"):
        painter(Path("photo.png"), Path("result.webp"))
    assert refuses(painter, "photo.png", "result.webp")


@pytest.mark.usefixtures("folder")
def test_a_sheet_of_styles() -> None:
    """Photo, amber, weave, amber, weave: four in a row, with a title over each."""
    sheet = paint(Look(grid=True), AMBER, WEAVE, AMBER, WEAVE, size=96)
    assert sheet.shape[-1] == 4 * 100 + 4 + 8  # 4 px between pictures, and around them
    assert sheet.shape[-2] > 2 * 80
    assert paint(Look(grid=True), AMBER).shape[-1] == 2 * 484 + 4 + 8


def test_a_sheet_of_all_that_ship(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(styles, "FOLDER", folder)
    assert [path.stem for path in styles.shipped()] == ["amber", "weave"]
    painter = Painter((), Look(grid=True))
    painter(Path("photo.png"), Path("result.png"), 48)
    assert images.image_size("result.png")[1] > 3 * 48 and painter.name == "grid"
    own = save_style(folder / "own.pt", content=False)  # a texture that was learned alone lies there too
    assert [style.name for style in Painter((), Look(grid=True)).styles] == [style.name for style in painter.styles]
    fields = checkpoint.load(AMBER) | {"training": {}}  # so is a run of the user's own
    checkpoint.save(own, **{name: fields[name] for name in fields if name not in ("format", "version")})
    (folder / "empty.pt").touch()
    assert [style.name for style in Painter((), Look(grid=True)).styles] == [style.name for style in painter.styles]
    assert "left out: " in capsys.readouterr().err
    assert "no checkpoint, or a damaged one" in styles.table()
    monkeypatch.setattr(styles, "FOLDER", folder / "nowhere")
    with pytest.raises(ValueError, match="no style ships with this installation"):
        Painter((), Look(grid=True))


@pytest.mark.usefixtures("folder")
def test_results_are_called_after_what_they_show() -> None:
    assert Painter([AMBER], Look()).name == "checks"
    assert Painter([AMBER], Look(compare=True)).name == "checks-compare"
    assert Painter([AMBER, WEAVE], Look(mask=Path("mask.png"))).name == "checks+checks"


@pytest.mark.usefixtures("folder")
def test_several_styles_need_a_reason() -> None:
    with pytest.raises(ValueError, match="2 styles for one painting: give --grid"):
        Painter([AMBER, WEAVE], Look())
    with pytest.raises(ValueError, match="3 styles for one painting"):
        Painter([AMBER, WEAVE, AMBER], Look(mask=Path("mask.png")))


@pytest.mark.usefixtures("folder")
def test_a_texture_that_will_not_tile_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    path = save_style(Path("tiles.pt"), content=False, padding="circular")
    fields = checkpoint.load(path) | {"recipe": {"noise_factor": 1.0, "padding": "circular"}}
    checkpoint.save(path, **{key: fields[key] for key in fields if key not in ("format", "version")})
    painter = Painter([path], Look())
    painter.texture(Path("whole.png"), 32, 64)
    assert capsys.readouterr().err == ""
    painter.texture(Path("cut.png"), 30, 64)
    assert capsys.readouterr().err.startswith("64x30 px: cut from 64x32, so it does not go on at its own edges")
    assert images.image_size(Path("cut.png")) == (30, 64)


@pytest.mark.usefixtures("folder")
def test_a_stopped_video_goes_on_with_the_same_look_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(video, "stylize", lambda *_, painter, **__: told.append(painter))

    def identity(style: Path, seed: int = 0, **look: Any) -> str:
        Painter([style], Look(**look), seed)(Path("clip.mp4"), Path("out.mp4"))
        return told[-1]

    half = Path("mask.png")
    looks = [identity(AMBER), identity(WEAVE), identity(AMBER, 1), identity(AMBER, strength=0.5)]
    looks += [identity(AMBER, mask=half), identity(AMBER, mask=half, mask_invert=True)]
    assert identity(AMBER, mask=half) == looks[-2]
    Image.new("L", (48, 40), 255).save(half)
    looks.append(identity(AMBER, mask=half))
    assert len(set(looks)) == len(looks)


def test_textures_and_styles_do_not_mix(folder: Path) -> None:
    save_style(folder / "tiles.pt", content=False, padding="circular")
    texture = Painter([Path("tiles.pt")], Look())
    assert not texture.paints_photos
    assert images.image_size(texture.texture(Path("texture.png"), 40, 56)) == (40, 56)
    with pytest.raises(ValueError, match="checks makes a texture and takes no photo; leave it out"):
        assert Painter([AMBER, Path("tiles.pt")], Look(grid=True)).paints_photos


def test_a_video_gets_the_same_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [images.load_image("photo.png"), picture(40, 48, 5)]
    painted: list[Tensor] = []

    def stylize(paint, source: Path, target: Path, **options: object) -> None:  # type: ignore[no-untyped-def]
        painted.extend(map(paint, frames))
        asked = {"size": 24, "quality": 80, "side_by_side": False}  # on a CPU
        assert (source.name, target.name, options) == ("clip.mp4", "out.webm", asked | {"painter": options["painter"]})

    monkeypatch.setattr(video, "stylize", stylize)
    Painter([AMBER], Look(strength=0.5), 3)(folder / "clip.mp4", folder / "out.webm", 24, 80)
    assert torch.equal(painted[0], Stylizer(AMBER)(frames[0], 3, strength=0.5))
    assert torch.equal(painted[1], Stylizer(AMBER)(frames[1], 3, strength=0.5))
    with pytest.raises(ValueError, match=r"clip.mp4: --grid and --compare make pictures, and this is a video"):
        Painter([AMBER], Look(compare=True))(folder / "clip.mp4", folder / "out.webm")


# --- in steps ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "look", [Look(), Look(mask=Path("mask.png")), Look(compare=True), Look(grid=True), Look(strength=0.5)]
)
def test_the_steps_together_are_the_call(look: Look) -> None:
    painter = Painter([AMBER], look, 3)
    steps = painter.steps(36, 80)
    assert steps.write(steps.paint(steps.read(Path("photo.png"), Path("a.jpg"))), Path("a.jpg")) == "a.jpg"
    painter(Path("photo.png"), Path("b.jpg"), 36, 80)
    assert Path("a.jpg").read_bytes() == Path("b.jpg").read_bytes()


def refuses(painter: Painter, source: str, target: str = "result.png", size: int | None = None) -> bool:
    """To read it ahead."""
    try:
        painter.steps(size).read(Path(source), Path(target))
    except ValueError:
        return True
    return False


@pytest.mark.usefixtures("folder")
def test_large_pictures_and_videos_are_not_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    still = images.to_pil(picture(40, 48))
    still.save("moving.png", save_all=True, append_images=[images.to_pil(picture(40, 48, 1))])
    monkeypatch.setattr(painting, "AHEAD_PIXELS", 48 * 40)
    painter = Painter([AMBER], Look())
    assert not refuses(painter, "photo.png")
    assert refuses(painter, "photo.png", size=64)
    assert refuses(painter, "moving.png")
    assert not refuses(painter, "moving.png", size=24)
    assert refuses(painter, "photo.png", "clip.mp4") and refuses(painter, "clip.avi")
    for look in (Look(compare=True), Look(grid=True), Look(mask=Path("mask.png"))):
        assert refuses(Painter([AMBER], look), "photo.png")
    monkeypatch.setattr(painting, "AHEAD_PIXELS", 48 * 40 - 1)
    assert refuses(Painter([AMBER], Look()), "photo.png")


@pytest.mark.usefixtures("folder")
def test_what_waits_is_a_small_part_of_max_memory() -> None:
    assert refuses(Painter([AMBER], Look(), max_memory=48 * 40 * 100), "photo.png")
    assert not refuses(Painter([AMBER], Look(), max_memory=48 * 40 * 1000), "photo.png")


@pytest.mark.usefixtures("folder")
def test_files_of_all_kinds_in_one_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Read ahead or not, each file becomes what it becomes by itself."""
    images.save_image(picture(60, 72, 1), "b.png")  # too large to be read ahead
    Path("c.mp4").write_bytes(b"film")
    images.to_pil(picture(30, 40, 2)).save("d.gif", save_all=True, append_images=[images.to_pil(picture(30, 40, 3))])
    Path("e.png").write_bytes(b"no picture")
    images.save_image(picture(20, 30, 4), "f.jpg")

    def stylize(paint: object, source: Path, target: Path, **options: object) -> None:
        del paint, options
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(video, "stylize", stylize)
    monkeypatch.setattr(painting, "AHEAD_PIXELS", 60 * 72 - 1)
    painter = Painter([AMBER], Look(), 5)
    names = ["photo.png", "b.png", "c.mp4", "d.gif", "e.png", "f.jpg"]
    work = [Work(Path(name), Path("out") / name) for name in names]
    Path("out").mkdir()

    def whole(source: Path, target: Path) -> str:
        return str(painter(source, target))

    assert folders.paint_all(work, whole, steps=painter.steps()) == 2
    said = capsys.readouterr()
    assert said.out.split() == [f"out/{name}" for name in names if name != "e.png"]
    errors = [line for line in said.err.splitlines() if "error: " in line]
    assert len(errors) == 1 and "stylize.py: error: e.png: not a picture" in errors[0]
    for item in work:
        if item.source.name != "e.png":
            painter(item.source, alone := Path("alone" + item.source.suffix))
            assert alone.read_bytes() == item.target.read_bytes(), item.source


@pytest.mark.usefixtures("folder")
def test_a_folder_takes_as_long_as_the_slower_of_codec_and_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network that takes as long as the codec does, and no chip: half of the sum at best."""
    images.save_image(picture(900, 1200), "large.png")
    work = [Work(Path("large.png"), Path(f"out/{i}.png")) for i in range(8)]
    painter = Painter([AMBER], Look())
    seconds: list[float] = []

    def timed(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: object) -> object:
            start = time.perf_counter()
            result = step(*args)
            seconds.append(time.perf_counter() - start)
            return result

        return run

    def paint(photo: Photo) -> Painting:
        time.sleep(codec)
        return Painting(photo.picture)

    monkeypatch.setattr(painter, "paint", paint)
    steps = painter.steps()
    start = time.perf_counter()
    steps.write(Painting(steps.read(work[0].source, work[0].target).picture), work[0].target)
    codec = time.perf_counter() - start
    steps = folders.Steps(timed(steps.read), timed(steps.paint), timed(steps.write))
    start = time.perf_counter()
    assert folders.paint_all(work, lambda *_: "", steps=steps) == 0
    wall = time.perf_counter() - start
    print(f"{len(work)} files: {wall:.2f} s for steps of {sum(seconds):.2f} s together, {wall / sum(seconds):.0%}")
    assert wall < 0.85 * sum(seconds)
