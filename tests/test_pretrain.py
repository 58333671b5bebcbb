"""`python -m texturenet.pretrain`, from pictures to a file that the other doors take."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from conftest import ROOT
from test_labelled import save_archive, save_folders

from texturenet import images, pretrain, pretrainer, program
from texturenet.files import find_images
from texturenet.perceptual import LITE_FILE, load_encoder

TINY = ["--epochs", "1", "--batch_size", "4", "--image_sizes", "16", "--held_out", "4", "--learning_rate", "0.02"]


@pytest.fixture
def command(tmp_path: Path, photo_dir: Path) -> Callable[..., int]:
    """The door, two steps long, with the places filled in."""

    def run(*words: object) -> int:
        places = [*TINY, "--photos", photo_dir, "-o", tmp_path / "out" / "own.pt", "--workers", 0, "--cpu"]
        return pretrain.main([str(word) for word in [*places, *words]])

    return run


@pytest.mark.parametrize("kind", ["folders", "archive"])
def test_from_pictures_to_a_perceptual_network(
    kind: str, command: Callable[..., int], tmp_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_folders(tmp_path / "data") if kind == "folders" else save_archive(tmp_path / "data.npz")
    assert command("--data", data) == 0
    out = tmp_path / "out" / "own.pt"
    said = capsys.readouterr().out
    assert "12 pictures of 3 classes" in said
    assert "epoch 1/1: " in said
    assert said.splitlines()[-1] == f"{out}: 6.5 MB; use it: train.py ... --perceptual_weights {out}"

    state = torch.load(out, weights_only=True)
    assert list(state)[:2] == ["conv1_1.weight", "conv1_1.bias"]
    assert {value.dtype for value in state.values()} == {torch.float16}
    encoder = load_encoder("auto", out)
    assert (encoder.name, encoder.preprocess) == ("lite", "torchvision")
    rectified = [layer for layer in encoder.layers if layer.startswith("relu")]
    photos = [images.load_image(path, pretrain.PHOTO_SIZE) for path in find_images(photo_dir)]
    means = torch.tensor([[features.mean() for features in encoder(photo, rectified).values()] for photo in photos])
    assert means.mean(0).tolist() == pytest.approx([1.0] * 13, rel=0.01)  # fp16 rounds

    rows = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == rows[-1]["iterations"] == 2
    assert 0 <= rows[-1]["losses"]["accuracy"] <= 1


def test_it_goes_on_after_ctrl_c(
    command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save_folders(tmp_path / "data")
    out = tmp_path / "out" / "own.pt"
    assert command("--data", data) == 0
    whole = out.read_bytes()
    for file in out.parent.iterdir():
        file.unlink()

    real = pretrainer.accuracy

    def stopped(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrainer, "SAVE_EVERY", 1)
    monkeypatch.setattr(pretrainer, "accuracy", stopped)
    assert command("--data", data) == program.STOPPED
    assert not out.exists()
    monkeypatch.setattr(pretrainer, "accuracy", real)
    capsys.readouterr()
    assert command("--data", data) == 0
    assert f"going on from step 1 of {out.with_suffix('.run.pt')}" in capsys.readouterr().out
    assert out.read_bytes() == whole
    assert [json.loads(line)["step"] for line in out.with_suffix(".jsonl").read_text().splitlines()] == [1, 2]


def test_it_goes_on_from_weights_under_attack(command: Callable[..., int], tmp_path: Path) -> None:
    """With hardly any learning rate it ends with the features that it was begun with."""
    out, begun_with = tmp_path / "out" / "own.pt", LITE_FILE
    words = ["--data", save_folders(tmp_path / "data"), "--start_from", begun_with, "--attack", 3]
    assert command(*words, "--learning_rate", 1e-9) == 0
    before, after = (load_encoder("lite", path).chain["conv1_1"].weight.flatten(1) for path in (begun_with, out))
    assert torch.nn.functional.cosine_similarity(before, after).min() > 0.99
    assert json.loads(out.with_suffix(".jsonl").read_text().splitlines()[0])["step"] == 1


def test_bad_input_is_one_line(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = save_folders(tmp_path / "data")
    (tmp_path / "note.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken.pt").write_text("somebody's")
    cases = [
        (["--data", tmp_path / "nowhere"], "nowhere: no such file"),
        (["--data", data, "--photos", tmp_path / "nowhere"], "nowhere: no such folder"),
        (["--data", data, "--photos", tmp_path / "empty"], "empty: no picture in it"),
        (["--data", data, "--held_out", 7], "--held_out 7 of 12 pictures"),
        (["--data", data, "--image_sizes", 8], "16 px or more"),
        (["--data", data, "-o", tmp_path / "taken.pt"], "taken.pt exists and is kept"),
        (["--data", data, "-o", tmp_path / "note.txt" / "own.pt"], "could not be saved"),
        (["--data", data, "--label_smoothing", 2], "--label_smoothing 2: give a share from 0 to 1"),
        (["--data", data, "--device", "gpu"], "unknown device 'gpu'"),
        (["--data", data, "--start_from", tmp_path / "nowhere.pt"], "no perceptual weights at"),
        (["--data", data, "--start_from", tmp_path / "note.txt"], "is not a file of network weights"),
    ]
    for words, message in cases:
        assert command(*words) == 2
        error = capsys.readouterr().err
        last = error.strip().splitlines()[-1]
        assert last.startswith("pretrain: error: ")
        assert message in last
    monkeypatch.setattr(pretrainer, "train", Mock(side_effect=MemoryError))
    assert command("--data", data, "--batch_size", 4) == 2
    assert "batches of 4 do not fit the memory of cpu; lower --batch_size" in capsys.readouterr().err
    assert not (tmp_path / "out" / "own.pt").exists()
    assert (tmp_path / "taken.pt").read_text() == "somebody's"


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from texturenet import pretrain; pretrain.parser().format_help(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
