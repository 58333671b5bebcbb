"""refining.py, and its way through the doors: a few iterations of the reference on a painting."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import picture
from test_stylizer import save_style

from texturenet import devices, gatys, images, judging, pages, styles
from texturenet.look import Look
from texturenet.painting import Painter
from texturenet.stylizer import Stylizer

MOSAIC = styles.find("mosaic")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    images.save_image(picture(48, 64), tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_style_s_own_loss_falls() -> None:
    style, photo = judging.open_judged(MOSAIC), picture(48, 64)
    painting = style.stylizer(photo)
    kept = photo.clone(), painting.clone()
    refined = judging.refiner(MOSAIC, 5, "cpu")(photo, painting)
    assert torch.equal(photo, kept[0]) and torch.equal(painting, kept[1])
    assert refined.shape == photo.shape and refined.min() >= 0 and refined.max() <= 1 and not refined.requires_grad
    assert style.terms(refined, photo)["total"] < 0.8 * style.terms(painting, photo)["total"]


def test_the_door(folder: Path, stylize: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """As the flags say: refined at --work_size, and blended with the photo afterwards."""
    words = "--model mosaic --cpu --refine 2 --work_size 40 --strength 0.5 photo.png -o result.png"
    assert stylize.main(words.split()) == 0
    assert capsys.readouterr().out == "result.png\n"
    photo, refine = images.load_image("photo.png"), judging.refiner(MOSAIC, 2, "cpu")
    wanted = Stylizer("mosaic", finish=refine)(photo, strength=0.5, work_size=40)
    torch.testing.assert_close(images.load_image("result.png"), wanted, atol=0.51 / 255, rtol=0)
    assert (wanted - Stylizer("mosaic")(photo, strength=0.5, work_size=40)).abs().mean() > 0.01
    assert {path.name for path in folder.iterdir()} == {"photo.png", "result.png"}


def test_each_style_of_a_sheet_by_its_own_loss() -> None:
    photo = picture(48, 64)
    for style in Painter(["mosaic", "the_scream"], Look(grid=True, refine=1)).styles:
        wanted = Stylizer(style.name, finish=judging.refiner(styles.find(style.name), 1, "cpu"))(photo)
        assert torch.equal(style(photo), wanted)
        assert not torch.equal(wanted, Stylizer(style.name)(photo))


@pytest.mark.parametrize("pictures", ["photo.png", "photo.png other.png"])
def test_ctrl_c_keeps_what_it_has_come_to(
    pictures: str,
    folder: Path,
    stylize: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images.save_image(picture(48, 64, 1), folder / "other.png")
    half_way = picture(48, 64, 2)

    def interrupted(*_: object) -> None:
        raise gatys.Interrupted(half_way)

    monkeypatch.setattr(gatys, "descend", interrupted)
    assert stylize.main(f"--model mosaic --cpu --refine 2 {pictures}".split()) == 130
    (kept,) = (folder / "stylized").iterdir()
    assert kept.name == "photo-mosaic-stopped.png"  # so that --skip_existing does not leave it out
    assert f"stopped; refined as far as it came: stylized/{kept.name}" in capsys.readouterr().err
    torch.testing.assert_close(images.load_image(kept), half_way, atol=0.51 / 255, rtol=0)


@pytest.mark.parametrize(
    "words", ["--grid --model mosaic --model pebbles photo.png", "--model mosaic photo.png other.png"]
)
def test_ctrl_c_ends_a_sheet_and_in_the_last_picture_of_several(
    words: str, folder: Path, stylize: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.save_image(picture(48, 64, 1), folder / "other.png")
    calls = []

    def interrupted(_loss: object, start: object, *_: object) -> object:
        calls.append(start)
        if "grid" in words or len(calls) == 2:  # the first style; the last picture
            raise gatys.Interrupted(start)
        return start

    monkeypatch.setattr(gatys, "descend", interrupted)
    assert stylize.main(["--cpu", "--refine", "2", *words.split()]) == 130
    assert len(calls) == (1 if "grid" in words else 2)
    assert len(list((folder / "stylized").iterdir())) == len(calls)


def test_more_than_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    refine = judging.refiner(MOSAIC, 1, "cpu")
    free = 256 * 256 * refine.bytes_a_pixel / 0.9 + 1000
    monkeypatch.setattr(devices, "free_memory", lambda _: free)
    monkeypatch.setattr(gatys, "descend", lambda _loss, start, *_: start)
    refine(torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256))
    large = torch.zeros(1, 3, 300, 1200)
    with pytest.raises(
        ValueError, match=r"1200x300 px takes \d.\d GB and 0.\d GB are left on cpu; paint at 512 px, which fit"
    ):
        refine(large, large)
    refine.max_memory = 1000  # less than the process has already
    with pytest.raises(ValueError, match=r"0.0 GB are left on cpu; paint without refining"):
        refine(large, large)


def test_what_the_pass_keeps_is_let_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    refine = judging.refiner(MOSAIC, 1, "cpu")
    pages.SHARED.clear()
    kept = np.empty(2**20, np.uint8)
    pages.SHARED.give(kept)
    needed = 256 * 256 * refine.bytes_a_pixel / 0.9 + 1000
    monkeypatch.setattr(devices, "free_memory", lambda _: needed - (kept.size if pages.SHARED._kept else 0))
    monkeypatch.setattr(gatys, "descend", lambda _loss, start, *_: start)
    refine(torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256))
    assert not pages.SHARED._kept


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model style.pt --refine 2 photo.png", "style.pt: its loss saw a texture of 256 px and the file holds none"),
        ("--model style.onnx --refine 2 photo.png", "style.onnx: --refine goes by the texture"),
        ("--model mosaic --refine 2 clip.mp4", "clip.mp4 has frames, and each refined by itself"),
        ("--model mosaic --refine 2 moving.png", "moving.png has frames, and each refined by itself"),
        ("--model mosaic --refine 2", "--refine needs a picture"),
        ("--model mosaic --refine -1 photo.png", "--refine"),
        ("--method gatys --texture photo.png --refine 2 photo.png", "--refine is for --method net"),
    ],
)
def test_what_cannot_be_refined(
    words: str,
    message: str,
    folder: Path,
    stylize: ModuleType,
    mosaic_onnx: tuple[Path, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_style(folder / "style.pt")
    (folder / "style.onnx").write_bytes(mosaic_onnx[0].read_bytes())
    (folder / "clip.mp4").touch()
    still, other = (images.to_pil(picture(40, 48, seed)) for seed in (0, 1))
    still.save(folder / "moving.png", save_all=True, append_images=[other])
    try:
        code = stylize.main([*words.split(), "--cpu"])
    except SystemExit as ended:
        code = ended.code
    except ValueError as error:  # which the door itself prints
        code, message_seen = 2, str(error)
        assert message in message_seen and "\n" not in message_seen
        return
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (folder / "stylized").exists()
