"""stylize.py with a trained style: flags to files."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import av
import pytest
import torch
from conftest import ROOT, picture
from PIL import Image
from test_stylizer import save_style

from texturenet import images, painting
from texturenet.pictures import Picture
from texturenet.presets import GatysRecipe
from texturenet.stylizer import Stylizer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """in/0.png .. in/2.png of 40x32 px, mask.png and an untrained style called "checks", in the current folder."""
    save_style(tmp_path / "style.pt")
    for seed in range(3):
        images.save_image(picture(32, 40, seed), tmp_path / "in" / f"{seed}.png")
    images.save_image(Image.new("L", (40, 32), 255), tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


NET = ["--model", "style.pt", "--cpu"]


def results(folder: str = "stylized") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.usefixtures("folder")
def test_strength_0_is_the_photo_and_1_the_painting(stylize: ModuleType) -> None:
    photo = images.load_image("in/0.png")
    assert stylize.main([*NET, "in/0.png", "--strength", "0"]) == 0
    assert torch.equal(images.load_image("stylized/0-checks.png"), photo)
    assert stylize.main([*NET, "in/0.png", "--strength", "1", "--seed", "3", "--noise_factor", "2"]) == 0
    painting = Stylizer(Path("style.pt"))(photo, 3, 2.0)
    torch.testing.assert_close(images.load_image("stylized/0-checks.png"), painting, atol=0.51 / 255, rtol=0)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "words",
    [
        "--preserve_color luma",
        "--preserve_color hist",
        "--work_size 20",
        "--mask mask.png --mask_invert",
        "--mask mask.png --model style.pt",
        "--compare",
        "--grid --size 64",
    ],
)
def test_every_control_runs(stylize: ModuleType, words: str) -> None:
    """What each does is tested in test_painting.py and test_blending.py."""
    assert stylize.main([*NET, *words.split(), "in/0.png", "-o", "out.png"]) == 0
    assert Path("out.png").is_file()


@pytest.mark.usefixtures("folder")
def test_a_folder_and_again(stylize: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert stylize.main([*NET, "in", "-o", "out"]) == 0
    assert results("out") == [f"{i}-checks.png" for i in range(3)]
    Path("out/1-checks.png").unlink()
    before = Path("out/0-checks.png").stat().st_mtime_ns
    assert "a folder is made" not in capsys.readouterr().err  # of "out", which has no suffix
    assert stylize.main([*NET, "in/0.png", "-o", "out.jpgg"]) == 0
    assert "out.jpgg: no name of a picture, so a folder is made of it" in capsys.readouterr().err
    assert stylize.main([*NET, "in", "-o", "out", "--skip_existing"]) == 0
    said = capsys.readouterr()
    assert said.out.split() == ["out/1-checks.png"]
    assert said.err.splitlines()[-1] == "1 of 3 pictures painted, 2 were there already"
    assert Path("out/0-checks.png").stat().st_mtime_ns == before


def test_past_a_bad_file_to_code_2(stylize: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in" / "1.png").write_bytes(b"no picture")
    assert stylize.main([*NET, "in/*.png", "--name", "{style}/{stem}.jpg"]) == 2
    assert results() == ["checks/0.jpg", "checks/2.jpg"]
    lines = capsys.readouterr().err.splitlines()
    assert any("stylize.py: error: in/1.png: not a picture" in line for line in lines)
    assert lines[-1] == "2 of 3 pictures painted, 1 failed: in/1.png"


@pytest.mark.usefixtures("folder")
def test_ctrl_c_keeps_what_is_done(
    stylize: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Impatient(painting.Painter):
        painted = 0

        def paint(self, photo: painting.Photo) -> Picture:
            if self.painted:
                raise KeyboardInterrupt
            self.painted += 1
            return super().paint(photo)

    monkeypatch.setattr(painting, "Painter", Impatient)
    assert stylize.main([*NET, "in"]) == 130
    assert results() == ["0-checks.png"]
    assert capsys.readouterr().err.splitlines()[-1] == "stopped: 1 of 3 pictures painted and kept"


@pytest.mark.usefixtures("folder")
def test_a_video_with_a_look(stylize: ModuleType) -> None:
    with av.open("clip.mp4", "w") as clip:
        stream = clip.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 40, 32, "yuv420p"
        for seed in range(3):
            clip.mux(stream.encode(av.VideoFrame.from_image(images.to_pil(picture(32, 40, seed)))))
        clip.mux(stream.encode())
    assert stylize.main([*NET, "clip.mp4", "--mask", "mask.png", "--mask_invert"]) == 0
    with av.open("clip.mp4") as before, av.open("stylized/clip-checks.mp4") as after:
        pairs = list(zip(before.decode(video=0), after.decode(video=0), strict=True))
    assert len(pairs) == 3
    for photo, painted in pairs:  # all masked out: the clip itself, but for the coding
        difference = images.to_tensor(photo.to_image()) - images.to_tensor(painted.to_image())
        assert difference.abs().mean() < 0.03


@pytest.mark.usefixtures("folder")
def test_memory_is_given_in_gb(stylize: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert stylize.main([*NET, "--max_memory", "0.001", "in/0.png"]) == 2
    assert "allow more with --max_memory" in capsys.readouterr().err
    assert stylize.main([*NET, "--max_memory", "1000", "in/0.png"]) == 0


@pytest.mark.usefixtures("folder")
def test_precision_is_the_styles(stylize: ModuleType) -> None:
    save_style(Path("deep.pt"), scales=5, width=8)
    photo, painted = images.load_image("in/0.png"), {}
    for precision in ("fp32", "bf16"):
        words = ["--model", "deep.pt", "--cpu", "--precision", precision, "in/0.png", "-o", f"{precision}.png"]
        assert stylize.main(words) == 0
        painted[precision] = images.load_image(f"{precision}.png")
        alone = Stylizer(Path("deep.pt"), precision=precision)(photo)
        torch.testing.assert_close(painted[precision], alone, atol=0.51 / 255, rtol=0)
    assert not torch.equal(painted["fp32"], painted["bf16"])


@pytest.mark.usefixtures("folder")
def test_a_shipped_style_by_name(stylize: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert stylize.main(["--list"]) == 0
    assert "| mosaic " in capsys.readouterr().out
    assert stylize.main(["--model", "mosaic", "--cpu", "in/0.png"]) == 0
    assert results() == ["0-mosaic.png"]
    with pytest.raises(ValueError, match=r"no checkpoint at mosaics, .*choose from .*mosaic.*, or train one"):
        stylize.main(["--model", "mosaics", "in/0.png"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("in/0.png", "name a style with --model NAME; --list shows those that ship"),
        ("--model s.pt --strength 2 in/0.png", "--strength 2 is outside 0 (the photo) to 1 (the painting)"),
        ("--model s.pt --strength much in/0.png", "argument --strength: invalid float value: 'much'"),
        ("--model s.pt --preserve_color lab in/0.png", "argument --preserve_color: invalid choice: 'lab'"),
        ("--model s.pt --work_size 8 in/0.png", "argument --work_size: 8 is less than 16"),
        ("--model s.pt --noise_factor -1 in/0.png", "argument --noise_factor: -1 is less than 0"),
        ("--model s.pt --mask_invert in/0.png", "--mask_invert needs --mask FILE or --segments FILE"),
        ("--model s.pt --segments s.json in/0.png", "--segments FILE and --segments_category NAME go together"),
        ("--model s.pt --compare", "--compare needs a picture: name at least one"),
        ("--grid", "--grid needs a picture: name at least one"),
        ("--model s.pt --max_memory 0 in/0.png", "--max_memory 0: give GB, more than 0"),
        ("--model s.pt --max_memory inf in/0.png", "--max_memory inf: give GB, more than 0"),
        ("--model s.pt --noise_factor inf in/0.png", "argument --noise_factor: inf is no finite number"),
        ("--model s.pt --skip_existing", "--skip_existing is about pictures: name at least one"),
        ("--model s.pt --name {stem}", "--name is about pictures: name at least one"),
        ("--model s.pt --quality 0 in/0.png", "--quality 0: give 1 to 100"),
        ("--model s.pt --precision fp8 in/0.png", "argument --precision: invalid choice: 'fp8'"),
        ("--method gatys --texture t.png --strength 0.5 in/0.png", "--strength is for --method net"),
        ("--method gatys --texture t.png --precision bf16 in/0.png", "--precision is for --method net"),
        ("--method gatys --texture t.png --grid in/0.png", "--grid is for --method net"),
    ],
)
def test_flags_that_make_no_sense(
    stylize: ModuleType, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        stylize.main(words.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("in --name {what}.png", "--name {what}.png: unknown field {what}; choose from {stem}, {style}, {suffix}"),
        ("in/9*.png", "no picture matches in/9*.png"),
        ("in/0.png --model style.pt", "2 styles for one painting: give --grid for a sheet of them"),
        ("in/0.png --segments no.json --segments_category dog", "no.json: no such file"),
    ],
)
def test_bad_input_is_one_line(stylize: ModuleType, words: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        stylize.main([*NET, *words.split()])
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("flag", ["--size", "--work_size"])
def test_a_size_beyond_any_memory_is_one_line(
    stylize: ModuleType, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize.main([*NET, flag, "1000000", "in/0.png"]) == 2
    said = capsys.readouterr().err
    assert "as asked for is over the limit of 200 million pixels: ask for a smaller size" in said
    assert "Traceback" not in said and not Path("stylized").exists()


@pytest.mark.slow
def test_two_processes_paint_each_file_once_and_can_go_on(folder: Path) -> None:
    """As torchrun starts them; a second run paints what the first one lacks."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launch, str(ROOT / "stylize.py"), *NET, "in", "-o", "out", "--skip_existing"]

    def painted() -> list[str]:
        ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        return sorted(line for line in ended.stdout.splitlines() if line.endswith(".png"))

    assert painted() == [f"out/{seed}-checks.png" for seed in range(3)]
    (folder / "out/1-checks.png").unlink()
    assert painted() == ["out/1-checks.png"]
    for name in ("in/0.png", "in/2.png"):  # all of one process's, which ends before the other has begun
        Path(name).write_bytes(b"")
    Path("out/1-checks.png").unlink()
    for seed in range(3, 9, 2):
        images.save_image(picture(300, 400, seed), Path("in") / f"{seed}.png")
        (Path("in") / f"{seed + 1}.png").write_bytes(b"")
    command[-2:] = ["again"]
    assert subprocess.run(command, capture_output=True, check=False, timeout=300).returncode != 0
    assert results("again") == [f"{seed}-checks.png" for seed in (1, 3, 5, 7)]


def test_help_is_grouped(stylize: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        stylize.main(["--help"])
    text = capsys.readouterr().out
    groups = ["input", "style", "look", "where", "sheets", "output", "machine", "optimization"]
    places = [text.index(f"\n{group}:\n") for group in groups]
    assert places == sorted(places)


def test_every_flag_of_a_style_is_explained(stylize: ModuleType) -> None:
    text = (ROOT / "docs" / "stylize.md").read_text()
    of_gatys = {spec.name for spec in dataclasses.fields(GatysRecipe)} - {"seed"}
    flags = [action for action in stylize.parser()._actions if action.option_strings and action.dest not in of_gatys]
    assert len(flags) > 20
    silent = [action.dest for action in flags if not any(f"`{name}" in text for name in action.option_strings)]
    assert silent == ["help"]
