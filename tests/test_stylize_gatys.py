"""stylize.py --method gatys, from files to files, and reference.py below it."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from conftest import ROOT, held_elsewhere, picture
from PIL import Image

from texturenet import gatys, images, perceptual, reference
from texturenet.config import Recipe, to_plain
from texturenet.gatys import Iterate
from texturenet.presets import PRESETS, TRAIN_PRESETS
from texturenet.reference import Reference


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    images.save_image(picture(40, 48), tmp_path / "photo.jpg")
    images.save_image(picture(44, 40, 3), tmp_path / "checks.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


GATYS = ["--method", "gatys", "--texture", "checks.png", "--cpu"]
LITE = ["--perceptual", "lite"]


@pytest.mark.usefixtures("folder")
def test_as_a_user_types_it() -> None:
    words = [*GATYS, *LITE, "--iterations", "2", "--size", "48", "--save_every", "1", "--print_every", "1", "photo.jpg"]
    ended = subprocess.run(
        [sys.executable, str(ROOT / "stylize.py"), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert "perceptual network: lite (ships with texturenet)" in lines
    assert sum(line.startswith("iteration ") for line in lines) == 3
    assert lines[-3:] == [f"stylized/photo-checks-gatys{end}" for end in (".jpg", ".jsonl", "-losses.png")]
    assert images.image_size("stylized/photo-checks-gatys.jpg") == (40, 48)
    assert images.image_size("stylized/photo-checks-gatys-losses.png") == (400, 640)
    assert sorted(path.name for path in Path("stylized/photo-checks-gatys-steps").iterdir()) == [
        "00001.jpg",
        "00002.jpg",
    ]
    header, *rows = [json.loads(line) for line in Path("stylized/photo-checks-gatys.jsonl").read_text().splitlines()]
    assert header["recipe"]["perceptual"] == "lite" and header["recipe"]["style_layers"][0] == "relu1_1"
    assert header["recipe"]["history_size"] == 20  # the optimizer's default, filled in
    assert header["encoder"].startswith("lite") and header["size"] == [40, 48] and header["recipe"]["init"] == "content"
    assert [row["iteration"] for row in rows] == [0, 1, 2]
    assert rows[2]["losses"]["total"] < rows[0]["losses"]["total"]
    assert "total" in ended.stderr  # the bar


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs(stylize: ModuleType, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*GATYS, *LITE, "--preset", name, "--iterations", "2", "--size", "48", "-o", "out.png", "photo.jpg"]
    assert stylize.main(words) == 0
    said = capsys.readouterr().out
    header, *rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert header["preset"] == name and header["recipe"]["iterations"] == 2
    assert [row["iteration"] for row in rows] == [0, 1, 2]  # so few may climb: a first step of L-BFGS is a guess
    announced = [line.split(": ", 1)[1] for line in said.splitlines() if line.startswith(f"{name} on lite: ")]
    assert sorted(change.split()[0] for line in announced for change in line.split("; ")) == header["on_lite"]
    assert ("iteration 0: total" in said) == (name == "from-scratch")
    assert ("style relu1_1: shape (1, 32, " in said) == (name == "tf-tutorial")
    assert images.image_size("out.png") == (40, 48)


@pytest.mark.usefixtures("folder")
def test_layers_typed_by_the_user_are_not_replaced(stylize: ModuleType) -> None:
    words = [*GATYS, *LITE, "--preset", "keras", "--content_layers", "block5_conv2", "photo.jpg"]
    with pytest.raises(ValueError, match="unknown layer 'relu5_2' of lite; choose from conv1_1"):
        stylize.main(words)


@pytest.mark.usefixtures("folder")
def test_without_a_preset_lite_has_the_loss_of_the_styles(
    stylize: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*GATYS, *LITE, "--iterations", "1", "--size", "48", "-o", "out.png", "photo.jpg"]

    def header() -> dict[str, Any]:
        made: dict[str, Any] = json.loads(Path("out.jsonl").read_text().splitlines()[0])
        return made

    assert stylize.main(words) == 0
    line = (
        "the loss on lite: style_weights 3 3 4 4 3 instead of 5 6 2 2 2; content_layers relu3_1 blur_8 instead "
        "of the network's; content_weights 0.4 0.8 instead of 2; content_norm instance instead of none; content_colors "
        "texture instead of photo\n"
    )
    assert line in capsys.readouterr().out
    fields = ["content_colors", "content_layers", "content_norm", "content_weights", "style_weights"]
    assert header()["on_lite"] == fields
    shipped = to_plain(Recipe(**TRAIN_PRESETS["laptop"]))
    assert {name: header()["recipe"][name] for name in fields} == {name: shipped[name] for name in fields}
    assert stylize.main([*words, "--content_norm", "none"]) == 0
    assert header()["on_lite"] == [name for name in fields if name != "content_norm"]
    assert header()["recipe"]["content_norm"] == "none"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "weights"),
    [
        (["--content_layers", "relu2_2"], {"relu2_2": 2.0}),  # two numbers for one layer otherwise
        (["--content_layers", "relu2_2", "--preset", "gatys2016"], {"relu2_2": 1e-5}),
        (["--content_weights", "4"], {"relu4_2": 4.0}),  # one for two layers otherwise
        (["--content_weights", "4", "1"], {"relu3_1": 4.0, "blur_8": 1.0}),
        (["--loss_scale", "raw"], {"relu4_2": 2.0}),
    ],
)
def test_on_lite_layers_and_weights_that_are_typed_keep_to_each_other(
    stylize: ModuleType, words: list[str], weights: dict[str, float]
) -> None:
    assert stylize.main([*GATYS, *LITE, "--iterations", "1", "--size", "48", *words, "-o", "out.png", "photo.jpg"]) == 0
    recipe = json.loads(Path("out.jsonl").read_text().splitlines()[0])["recipe"]
    assert dict(zip(recipe["content_layers"], recipe["content_weights"], strict=True)) == weights


def test_resnets_preset_needs_resnets_weights(
    stylize: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder / "hub"))
    monkeypatch.setattr(perceptual, "_unreachable", lambda url: f"no route to {url.split('/')[2]}")
    with pytest.raises(ValueError, match=r"resnet18's weights are not on this machine .*--perceptual lite"):
        stylize.main([*GATYS, "--preset", "ablation-resnet18", "photo.jpg"])


@pytest.mark.usefixtures("folder")
def test_texture_alone(stylize: ModuleType) -> None:
    assert stylize.main([*GATYS, *LITE, "--iterations", "2", "--size", "64x48"]) == 0
    assert images.image_size("stylized/checks-gatys-64x48.png") == (48, 64)
    with pytest.raises(ValueError, match=r"out\.jp2: that format can't be written"):
        stylize.main([*GATYS, *LITE, "--iterations", "2", "--size", "64x48", "-o", "out.jp2"])
    assert stylize.main([*GATYS, *LITE, "--iterations", "1", "--size", "40", "-o", "other.png"]) == 0
    assert images.image_size("other.png") == (40, 40)
    with pytest.raises(ValueError, match="--init content starts from a photo, and there is none"):
        stylize.main([*GATYS, *LITE, "--preset", "keras", "--size", "40"])


def test_a_folder_of_photos(stylize: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.save_image(picture(32, 32, 8), folder / "in" / "a.png")
    (folder / "in" / "b.png").write_bytes(b"no picture")
    assert stylize.main([*GATYS, *LITE, "--iterations", "1", "--size", "32", "in", "-o", "out"]) == 2
    assert (folder / "out" / "a-checks-gatys.png").is_file()
    assert "b.png: not a picture" in capsys.readouterr().err


def test_two_pictures_of_one_name_have_their_logs(
    stylize: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "a.jpg"):
        images.save_image(picture(32, 32, 8), folder / "in" / name)
    assert stylize.main([*GATYS, *LITE, "--iterations", "1", "--size", "32", "in", "-o", "out"]) == 2
    assert "out/a-checks-gatys.png: its log would replace that of out/a-checks-gatys.jpg" in capsys.readouterr().err
    assert json.loads((folder / "out" / "a-checks-gatys.jsonl").read_text().splitlines()[0])["photo"] == "in/a.jpg"


def test_ctrl_c_saves_the_best(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(reference.Trace):
        def __call__(self, iterate: Iterate) -> None:
            super().__call__(iterate)
            if iterate.iteration == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(reference, "Trace", Impatient)
    painter = Reference(None, {"perceptual": "lite"}, folder / "checks.png", torch.device("cpu"))
    with pytest.raises(KeyboardInterrupt):
        painter(folder / "photo.jpg", folder / "out.png", 48)
    assert images.image_size("out-stopped.png") == (40, 48)
    assert len(Path("out-stopped.jsonl").read_text().splitlines()) == 4
    assert sorted(path.name for path in folder.glob("out*")) == ["out-stopped.jsonl", "out-stopped.png"]


def test_ctrl_c_before_the_first_iteration_keeps_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(reference.Trace):
        def __call__(self, iterate: Iterate) -> None:
            super().__call__(iterate)
            raise KeyboardInterrupt

    (folder / "out.jsonl").write_text('{"recipe": "of before"}')
    monkeypatch.setattr(reference, "Trace", Impatient)
    painter = Reference(None, {"perceptual": "lite"}, folder / "checks.png", torch.device("cpu"))
    with pytest.raises(KeyboardInterrupt):
        painter(folder / "photo.jpg", folder / "out.png", 48)
    assert [path.name for path in folder.glob("out*")] == ["out.jsonl"]
    assert Path("out.jsonl").read_text() == '{"recipe": "of before"}'


def test_more_than_the_memory_holds_leaves_nothing(
    stylize: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(gatys, "reference_loss", full)
    assert stylize.main([*GATYS, *LITE, "--size", "48", "photo.jpg", "-o", "out.png"]) == 2
    assert "error: photo.jpg: a picture of 48x40 px does not fit the memory of cpu" in capsys.readouterr().err
    assert not list(folder.glob("out*"))


def test_what_does_not_come_along_is_told(
    stylize: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("RGBA", (40, 32), (value, 90, 30, 255 - value)) for value in (0, 120, 240)]
    frames[0].save(folder / "a.png")
    frames[0].save(folder / "b.webp", save_all=True, append_images=frames[1:])
    words = [*GATYS, *LITE, "--iterations", "1", "--size", "32"]
    assert stylize.main([*words, "a.png", "-o", "one.png"]) == stylize.main([*words, "b.webp", "-o", "two.png"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert [line.partition(";")[0] for line in told] == [
        "a.png: its transparency left out",
        "b.webp: 2 more frames and its transparency left out",
    ]


@pytest.mark.usefixtures("folder")
def test_what_it_does_not_read_or_write_is_refused_before_the_work(
    stylize: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize.main([*GATYS, *LITE, "--iterations", "1", "photo.jpg", "-o", "out.mp4"]) == 2
    assert not list(Path().glob("out*"))
    Path("clip.mp4").touch()
    assert stylize.main([*GATYS, *LITE, "--iterations", "1", "clip.mp4", "-o", "out.png"]) == 2
    assert "clip.mp4: the reference takes pictures, and this is a video" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--method", "gatys", "photo.jpg"],
            "--method gatys takes its look from a picture: name it with --texture FILE",
        ),
        (["--model", "x.pt", "--texture", "checks.png", "photo.jpg"], "--texture is for --method gatys"),
        (["--model", "x.pt", "--preset", "keras", "photo.jpg"], "--preset is for --method gatys"),
        (["--model", "x.pt", "--tv_weight", "1", "photo.jpg"], "--tv_weight is for --method gatys"),
        ([*GATYS, "--model", "x.pt", "photo.jpg"], "--model is for --method net"),
        ([*GATYS, "--noise_factor", "1", "photo.jpg"], "--noise_factor is for --method net"),
    ],
)
def test_flags_of_the_other_method(
    stylize: ModuleType, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        stylize.main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "gatys"], "unknown preset 'gatys'; choose from from-scratch, keras, tf-tutorial, gatys2016"),
        (["--beta1", "0.5"], "--beta1 is an option of adam and adamw, and the optimizer is lbfgs"),
        (["--texture", "none.png"], "none.png: no such file"),
        (["--pyramid", "4", "--size", "64", *LITE], "--pyramid 4 is too much for 64x53 px; give 1 at most"),
        (["--style_weights", "1", *LITE], "style_weights has 1 numbers for 5 style_layers"),
    ],
)
def test_bad_input_is_one_line(
    stylize: ModuleType, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first picture it ends the run, with a picture it is that picture's failure."""
    try:
        assert stylize.main([*GATYS, *words, "photo.jpg"]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
    except ValueError as error:
        said = str(error)
    assert message in said and "\n" not in said


def test_the_training_preset(tmp_path: Path) -> None:
    """Unknown names are listed; the report's values reach the checkpoint, but for those that a flag replaces."""
    from texturenet import checkpoint

    images.save_image(picture(40, 40, 9), tmp_path / "checks.png")
    words = "--texture checks.png --iterations 1 --batch_size 1 --image_size 32 --style_size 32 --scales 2 --width 2"
    words += " --perceptual lite --preview_every 0 --cpu --style_weights 1 1 1 1 1 --preset"

    def train(preset: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *words.split(), preset],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    refused = train("report")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "train.py: error: unknown preset 'report'; choose from texturenets-report, laptop, scratch, best"
    ]
    ended = train("texturenets-report")
    assert ended.returncode == 0, ended.stderr
    recipe = checkpoint.load(tmp_path / "checkpoints" / "checks.pt")["recipe"]
    assert (recipe["content_weights"], recipe["loss_scale"]) == ([1e3], "raw")
    assert recipe["style_weights"] == [1.0] * 5


@pytest.mark.usefixtures("folder")
def test_a_snapshot_is_not_worth_a_run(stylize: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    Path("result-steps").write_text("a file where the folder should be")
    words = [*GATYS, *LITE, "--iterations", "1", "--size", "32", "--save_every", "1", "photo.jpg", "-o", "result.png"]
    assert stylize.main(words) == 0
    assert "no snapshot: result-steps/00001.png: could not be saved: " in capsys.readouterr().err
    assert images.image_size("result.png") and images.image_size("result-losses.png")


def test_a_broken_picture_is_in_nobodys_way(stylize: ModuleType, folder: Path) -> None:
    images.save_image(picture(32, 32, 8), folder / "in" / "a.png")
    (folder / "in" / "a.jpg").write_bytes(b"no picture")
    assert stylize.main([*GATYS, *LITE, "--iterations", "1", "--size", "32", "in", "-o", "out"]) == 2
    assert (folder / "out" / "a-checks-gatys.png").is_file()


@pytest.mark.usefixtures("folder")
def test_a_log_replaces_no_file_of_another_kind(stylize: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*GATYS, *LITE, "--iterations", "1", "--size", "32", "photo.jpg", "-o", "data.png"]
    Path("data.jsonl").write_text('{"label": 3}\n')
    assert stylize.main(words) == 2
    assert "would replace data.jsonl, which is no log of a picture" in capsys.readouterr().err
    assert Path("data.jsonl").read_text() == '{"label": 3}\n'
    Path("data.jsonl").unlink()
    assert stylize.main(words) == stylize.main(words) == 0  # one of its own it does replace


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("until", [2, 99])
def test_a_disk_that_is_full_costs_no_picture(
    stylize: ModuleType, until: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the log's rows find no room for is written again at the end, if there is room then."""
    write_whole, opened = reference.files.write_whole, Path.open
    writes = []

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            writes.append(data)
            if 1 < len(writes) <= until:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def whole(path: Path, content: bytes) -> None:
        if until == 99 and path.name != "result.png":
            raise OSError(f"{path}: could not be saved: No space left on device")
        write_whole(path, content)

    def fill(path: Path, mode: str = "r", **options: Any) -> Any:
        return Full(path, "w") if path.suffix == ".part" else opened(path, mode, **options)

    words = [*GATYS, *LITE, "--iterations", "3", "--size", "32", "photo.jpg", "-o", "result.png"]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fill)
        patch.setattr(reference.files, "write_whole", whole)
        assert stylize.main(words) == 0
    assert images.image_size("result.png")
    said = capsys.readouterr().err
    if until == 99:
        assert "no log of losses: result.jsonl: could not be saved: " in said and "no plot of losses: " in said
    else:
        rows = [json.loads(line) for line in Path("result.jsonl").read_text().splitlines()]
        assert [row["iteration"] for row in rows[1:]] == [0, 1, 2, 3]
        assert not Path("result.jsonl.part").exists()


@pytest.mark.usefixtures("folder")
def test_another_run_is_painting_it(stylize: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with held_elsewhere(Path(".result.jsonl.lock")):
        assert stylize.main([*GATYS, *LITE, "--iterations", "1", "photo.jpg", "-o", "result.png"]) == 2
    assert "result.png: another run is painting it" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_texture_is_not_painted_over(stylize: ModuleType) -> None:
    before = Path("checks.png").read_bytes()
    with pytest.raises(ValueError, match=r"checks.png is read too, and would be replaced"):
        stylize.main([*GATYS, *LITE, "--iterations", "1", "photo.jpg", "-o", "checks.png"])
    assert Path("checks.png").read_bytes() == before


@pytest.mark.usefixtures("folder")
def test_a_folder_that_cannot_be_written_is_told_first(stylize: ModuleType) -> None:
    Path("file").write_text("no folder")
    with pytest.raises(OSError, match=r"can't write to .*file: File exists; choose another folder"):
        stylize.main([*GATYS, *LITE, "photo.jpg", "checks.png", "-o", "file"])


@pytest.mark.usefixtures("folder")
def test_a_name_is_no_formula(stylize: ModuleType) -> None:
    assert stylize.main([*GATYS, *LITE, "--iterations", "1", "--size", "32", "photo.jpg", "-o", "cost$^$.png"]) == 0
    assert images.image_size("cost$^$-losses.png")
