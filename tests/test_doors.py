"""train.py and stylize.py as a user types them: in a process of their own, on tiny input."""

import json
import os
import pickle
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, opened, picture
from PIL import Image

from texturenet import checkpoint, images, trainer
from texturenet.job import Job

TINY = shlex.split("--iterations 2 --batch_size 2 --image_size 32 --style_size 32 --scales 3 --width 4 --workers 0")
TINY += ["--perceptual", "lite", "--preview_every", "2", "--cpu"]


def door(name: str, *words: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / name), *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
    )


def train(cwd: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    return door("train.py", *words, *TINY, cwd=cwd, **env)


def assert_refused(ended: subprocess.CompletedProcess[str], *parts: str) -> None:
    """One clear line, exit code 2, no traceback."""
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    for part in parts:
        assert part in last


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a texture, and one style trained in two steps through the door."""
    folder = tmp_path_factory.mktemp("workshop")
    for seed in range(4):
        images.save_image(picture(40, 48, seed), folder / "photos" / f"{seed}.jpg")
    images.save_image(picture(40, 40, 9), folder / "checks.png")
    ended = train(folder, "--data_dir", "photos", "--texture", "checks.png", "--verbose", "--verbose_every", 1)
    assert ended.returncode == 0, ended.stderr
    assert "found 4 pictures, skipped 0" in ended.stdout
    assert "perceptual network: lite" in ended.stdout
    assert "step 1/2  total" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "try it: python stylize.py --model checkpoints/checks.pt PICTURE"
    return folder


def test_train_leaves_a_log_previews_and_a_checkpoint(workshop: Path) -> None:
    rows = [json.loads(line) for line in (workshop / "runs/checks/log.jsonl").read_text().splitlines()]
    assert {row["event"] for row in rows} == {"step", "preview"}
    assert "style/relu1_1" in rows[0]["losses"]
    assert (workshop / "runs/checks/previews/000002.jpg").is_file()
    assert checkpoint.load(workshop / "checkpoints/checks.pt")["recipe"]["perceptual"] == "lite"


def test_stylize_a_picture(workshop: Path, tmp_path: Path) -> None:
    photo = workshop / "photos/0.jpg"
    ended = door("stylize.py", "--model", workshop / "checkpoints/checks.pt", photo, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "stylized/0-checks.jpg"
    with Image.open(tmp_path / "stylized/0-checks.jpg") as result:
        assert result.size == (48, 40)


def test_stylize_a_folder_goes_past_a_bad_file(workshop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    images.save_image(picture(20, 30), folder / "good.png")
    (folder / "bad.jpg").write_text("text")
    ended = door("stylize.py", "--model", workshop / "checkpoints/checks.pt", "in", "-o", "out", cwd=tmp_path)
    assert_refused(ended, "1 of 2 pictures painted, 1 failed: in/deep/bad.jpg")
    assert "in/deep/bad.jpg: not a picture" in ended.stderr
    assert [path.name for path in (tmp_path / "out" / "deep").iterdir()] == ["good-checks.png"]


def test_a_texture_alone(workshop: Path, tmp_path: Path) -> None:
    assert train(tmp_path, "--texture", workshop / "checks.png").returncode == 0
    ended = door("stylize.py", "--model", "checkpoints/checks.pt", "--size", "50x34", cwd=tmp_path)
    assert ended.stdout.strip() == "stylized/checks-50x34.png", ended.stderr
    with Image.open(tmp_path / ended.stdout.strip()) as result:
        assert result.size == (50, 34)
    refused = door("stylize.py", "--model", "checkpoints/checks.pt", workshop / "checks.png", cwd=tmp_path)
    assert_refused(refused, "makes a texture and takes no photo")


def test_a_second_run_keeps_the_first_ones_checkpoint(workshop: Path) -> None:
    before = (workshop / "checkpoints/checks.pt").read_bytes()
    ended = train(workshop, "--texture", "checks.png")
    assert "this run is called checks-2" in ended.stdout
    assert (workshop / "checkpoints/checks.pt").read_bytes() == before


def test_resume(workshop: Path) -> None:
    words = ["--data_dir", "photos", "--texture", "checks.png", "--cpu", "--workers", "0"]
    ended = door("train.py", *words, "--resume", "--iterations", 3, cwd=workshop)
    assert ended.returncode == 0, ended.stderr
    assert checkpoint.load(workshop / "checkpoints/checks.pt")["step"] == 3
    assert_refused(
        door("train.py", *words, "--resume", "--batch_size", 7, cwd=workshop), "batch_size (2 before, 7 now)"
    )


def test_viz_without_a_server_warns_once_and_trains(workshop: Path, tmp_path: Path) -> None:
    pytest.importorskip("visdom")
    ended = train(tmp_path, "--texture", workshop / "checks.png", "--viz", "--visdom_port", 1)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("visdom: no server at http://localhost:1") == 1


@pytest.mark.parametrize("name", ["train.py", "stylize.py"])
def test_help_is_quick(name: str, tmp_path: Path) -> None:
    ended = door(name, "--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert "default: " in ended.stdout
    start = time.perf_counter()
    door(name, "--help", cwd=tmp_path)
    assert time.perf_counter() - start < 2  # 0.1 s on a quiet machine; torch alone takes longer


@pytest.mark.parametrize("saved", [True, False])
def test_a_second_ctrl_c_tells_what_is_kept(
    saved: bool, workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice(job: Job, _listeners: object) -> None:
        if saved:
            job.path.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "train", twice)
    monkeypatch.chdir(workshop)
    words = ["--data_dir", "photos", "--texture", "checks.png", "--name", f"twice-{saved}", *TINY]
    if saved:
        assert opened("train").main(words) == 130
        kept = f"go on from the last save with: python train.py ... --resume checkpoints/twice-{saved}.pt"
        assert capsys.readouterr().out.splitlines()[-1] == f"stopped at once; {kept}"
    else:
        with pytest.raises(KeyboardInterrupt):
            opened("train").main(words)


# --- bad input: one line, exit code 2 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--data_dir nowhere --texture checks.png", ["nowhere", "no such folder"]),
        ("--data_dir empty --texture checks.png", ["empty", "no usable photo"]),
        ("--data_dir photos --texture note.txt", ["note.txt", "not a picture"]),
        ("--data_dir photos --texture nowhere.jpg", ["nowhere.jpg", "no such file"]),
        ("--data_dir photos --texture checks.png --device cuda:77", ["cuda:77 asked for", "--cpu"]),
        ("--data_dir photos --texture checks.png --device gpu", ["unknown device 'gpu'", "choose from auto"]),
        ("--data_dir photos --texture checks.png --device meta", ["unknown device 'meta'", "choose from auto"]),
        ("--data_dir photos --texture checks.png --style_layers relu7_7", ["unknown layer 'relu7_7'", "relu1_1"]),
        ("--data_dir photos --texture checks.png --style_weights 1 2 3", ["3 numbers for 5 style_layers"]),
        ("--data_dir photos --texture checks.png --categories dog", ["categories", "instances_train2017.json"]),
        ("--data_dir photos --texture checks.png --checkpoint_dir note.txt/deep", ["can't write to note.txt/deep"]),
        ("--data_dir photos --texture checks.png --resume note.txt", ["note.txt is not a checkpoint"]),
        ("--data_dir photos --texture checks.png --perceptual_weights note.txt", ["note.txt is not a file of"]),
        ("--data_dir photos --texture checks.png --batch_size 0", ["--batch_size: 0 is less than 1"]),
        ("--data_dir photos", ["required: --texture"]),
        ("--data_dir '' --texture checks.png", ["--data_dir: an empty name"]),
        ("--data_dir photos --texture checks.png --resume ''", ["--resume: an empty name"]),
        ("--data_dir photos --texture checks.png --start_from ''", ["--start_from: an empty name"]),
    ],
)
def test_train_refuses(words: str, parts: list[str], workshop: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").symlink_to(workshop / "photos")
    (tmp_path / "checks.png").symlink_to(workshop / "checks.png")
    (tmp_path / "note.txt").write_text("no picture, no checkpoint")
    (tmp_path / "empty").mkdir()
    # What the case says comes last, so that it wins over the tiny defaults.
    assert_refused(door("train.py", *TINY, *shlex.split(words), cwd=tmp_path), *parts)


def test_cuda_without_cuda(workshop: Path, tmp_path: Path) -> None:
    ended = door("train.py", "--texture", workshop / "checks.png", "--cuda", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert_refused(ended, "cuda asked for, but there is no such GPU", "use --cpu")


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("code-was-run",)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--model note.txt photo.png", ["note.txt is not a checkpoint"]),
        ("--model nowhere.pt photo.png", ["no checkpoint at nowhere.pt"]),
        ("--model other.pt photo.png", ["other.pt", "another program"]),
        ("--model short.pt photo.png", ["short.pt is damaged or cut short"]),
        ("--model evil.pt photo.png", ["evil.pt holds Python objects"]),
        ("--model bare.pt photo.png", ["bare.pt is not a checkpoint"]),
        ("--model good.pt nowhere.png", ["nowhere.png", "no such file"]),
        ("--model good.pt note.txt", ["note.txt", "not a picture"]),
        ("--model good.pt one.png", ["1x1 px is too small", "16x16"]),
        ("--model good.pt photo.png -o note.txt/out.png", ["can't write to", "note.txt: File exists"]),
        ("--model good.pt photo.png -o photo.png", ["would replace the picture itself"]),
        ("--model good.pt empty", ["no pictures in empty"]),
        ("--model good.pt", ["name at least one picture"]),
        ("--model good.pt photo.png --size 30x20", ["a picture keeps its aspect"]),
        ("--model good.pt photo.png --size big", ["'big' is no size"]),
        ("--model good.pt photo.png --cuda", ["cuda asked for"]),
        ("photo.png", ["--model"]),
    ],
)
def test_stylize_refuses(words: str, parts: list[str], workshop: Path, tmp_path: Path) -> None:
    whole = (workshop / "checkpoints/checks.pt").read_bytes()
    (tmp_path / "good.pt").write_bytes(whole)
    (tmp_path / "short.pt").write_bytes(whole[: len(whole) // 2])
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pt")
    torch.save({"format": "texturenet", "weights": RunsCode()}, tmp_path / "evil.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(RunsCode()))
    (tmp_path / "note.txt").write_text("no picture, no checkpoint")
    (tmp_path / "empty").mkdir()
    images.save_image(picture(32, 32), tmp_path / "photo.png")
    images.save_image(picture(32, 32)[..., :1, :1], tmp_path / "one.png")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert_refused(door("stylize.py", *words.split(), cwd=tmp_path, CUDA_VISIBLE_DEVICES=""), *parts)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before  # nothing half-written


def test_a_picture_of_108_megapixels_is_a_result_or_a_clear_limit(workshop: Path, tmp_path: Path) -> None:
    Image.new("L", (12000, 9000), 90).save(tmp_path / "huge.png")
    command = ("stylize.py", "--model", workshop / "checkpoints/checks.pt", "huge.png")
    ended = door(*command, "-o", "small.png", "--size", 200, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    with Image.open(tmp_path / "small.png") as result:
        assert result.size == (200, 150)
    too_little = door(*command, "--max_memory", 0.5, cwd=tmp_path)
    assert_refused(too_little, "12000x9000 px takes at least", "--size", "--max_memory")
