"""The yardstick on tiny pictures: known answers, interruption, failing cells, bad input."""

import csv
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from conftest import picture
from torch import Tensor

from texturenet import (
    ablation,
    checkpoint,
    evaluate,
    gatys,
    grid,
    images,
    judging,
    matched,
    program,
    reports,
    styles,
    sweeps,
    trainer,
    yardstick,
)
from texturenet.config import Recipe, Run, to_plain
from texturenet.job import prepare
from texturenet.learner import build
from texturenet.presets import GatysRecipe

SIZE = 32
RECIPE = Recipe(
    iterations=4,
    batch_size=2,
    image_size=SIZE,
    style_size=SIZE,
    scales=2,
    width=4,
    padding="reflect",
    perceptual="lite",
)
CPU = torch.device("cpu")


def save_style(path: Path, texture: Tensor, **changed: Any) -> Path:
    """A generator as it is before training, in a file as the trainer writes it."""
    generator, spec = build(RECIPE, content=changed.pop("content", True))
    fields: dict[str, Any] = {
        "name": path.stem,
        "generator": spec,
        "weights": generator.state_dict(),
        "recipe": to_plain(RECIPE),
        "perceptual": {"name": "lite", "source": "lite"},
        "texture": texture[0].mul(255).round().to(torch.uint8),
        "step": 4,
    }
    checkpoint.save(path, **(fields | changed))
    return path


@pytest.fixture
def texture(texture_path: Path) -> Tensor:
    return images.load_image(texture_path, SIZE)


@pytest.fixture
def style_path(tmp_path: Path, texture: Tensor) -> Path:
    return save_style(tmp_path / "checks.pt", texture)


@pytest.fixture
def command(tmp_path: Path, photo_dir: Path) -> Callable[..., int]:
    """`evaluate` with the places filled in."""

    def run(*words: object) -> int:
        places = ["--out_dir", tmp_path / "out", "--cpu"]
        photos = [] if words[0] in ("ablate", "synthesis") else ["--photos", photo_dir]
        return evaluate.main([str(word) for word in [*words, *photos, *places]])

    return run


MATCHED = ("--count", 2, "--sizes", SIZE, "--iterations", 4)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------------------------------------------------ matched


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("kind", ["photo", "noise"])
def test_a_lookup_of_gatys_own_output_matches_its_iteration(style_path: Path, k: int, kind: str) -> None:
    loss = judging.open_judged(style_path).loss_function
    photo = 0.25 + 0.5 * picture(SIZE, 40, seed=3)  # where nothing is clipped, each iteration gains
    starts = {"photo": photo, "noise": torch.rand(photo.shape, generator=torch.Generator().manual_seed(0))}
    runs = {name: yardstick.run_reference(loss, photo, start, 6) for name, start in starts.items()}
    met: dict[int, Tensor] = {}
    gatys.descend(
        loss,
        starts[kind],
        loss.content_features(photo),
        GatysRecipe(optimizer="lbfgs", iterations=6, clip=True),
        lambda iterate: met.update({iterate.iteration: iterate.image}),
    )
    result, shown = matched.measure(lambda _photo, _seed: met[k], loss, photo, runs["photo"], runs["noise"])
    assert torch.equal(shown, met[k])
    assert (result.matched_photo if kind == "photo" else result.matched_noise) == pytest.approx(k, abs=0.01)
    if kind == "photo":
        assert 0 < result.gap < 1


def test_the_photo_itself_closes_nothing_and_the_reference_all(style_path: Path) -> None:
    loss = judging.open_judged(style_path).loss_function
    photo = picture(SIZE, SIZE)
    run = yardstick.run_reference(loss, photo, photo, 4)
    assert run.iterations == 4
    assert sorted(run.totals, reverse=True) == run.totals
    nothing, _ = matched.measure(lambda image, _seed: image, loss, photo, run, None)
    assert (nothing.gap, nothing.matched_photo, nothing.matched_noise) == (pytest.approx(0, abs=1e-4), 0, None)
    everything, _ = matched.measure(lambda _photo, _seed: run.pictures[4], loss, photo, run, None)
    assert everything.gap == pytest.approx(1, abs=1e-4)
    for group in ("style", "content", "tv"):
        assert nothing.ours[group] == pytest.approx(run.first[group], abs=1e-5)
        assert everything.ours[group] == pytest.approx(run.best[group], rel=1e-3)


def test_matched_writes_tables_and_sheet(style_path: Path, command: Callable[..., int], tmp_path: Path) -> None:
    assert command("matched", style_path, *MATCHED, "--noise_iterations", 2) == 0
    out = tmp_path / "out" / "matched"
    rows = rows_of(out / "checks.csv")
    assert [row["photo"] for row in rows] == ["0.png", "1.png"]
    for group in ("photo", "pass", "reference"):
        parts = [float(rows[0][f"{group}_{term}"]) for term in ("style", "content", "tv")]
        assert float(rows[0][f"{group}_total"]) == pytest.approx(sum(parts), rel=1e-4)
    text = (out / "checks.md").read_text()
    assert "| style/relu3_1" in text
    assert "| checks | 32 | 2 " in text
    faults = text.partition("## Artefacts")[2].partition("##")[0]
    for name, title in (("nyquist", "2 px grid, ‰"), ("clipped", "clipped, %")):
        ours, reference = (sum(float(row[f"{who}_{name}"]) for row in rows) / 2 for who in ("pass", "reference"))
        cells = dict(zip(*([cell.strip() for cell in faults.splitlines()[i].split("|")] for i in (4, 6)), strict=True))
        unit = {"nyquist": 1000, "clipped": 100}[name]
        assert cells[title].startswith(f"{unit * ours:.3g} / {unit * reference:.3g} (")
    sheet = images.load_image(out / "checks-32.jpg")
    assert sheet.shape[-1] >= 4 * reports.TILE  # photo, texture, one pass, the last of the reference
    assert sheet.shape[-2] >= 2 * 192


def test_matched_records_its_figures_in_the_checkpoint(style_path: Path, command: Callable[..., int]) -> None:
    before = checkpoint.load(style_path)
    assert command("matched", style_path, *MATCHED, "--noise_iterations", 0, "--record") == 0
    after = checkpoint.load(style_path)
    figures = {"gap_closed", "matched_from_photo", "diversity"}
    assert after["quality"].keys() == figures | {"judged_photos", "judged_px", "reference_iterations"}
    assert after["quality"]["diversity"] > 0  # a style with noise, and another seed
    assert after["quality"]["judged_photos"] == 2
    assert all(torch.equal(after["weights"][name], value) for name, value in before["weights"].items())
    assert after.keys() == before.keys() | {"quality", "sample_loss"}
    words = ("matched", style_path, *MATCHED, "--noise_iterations", 0)
    assert command(*words, "--for_painting") == 2
    assert command(*words, "--for_painting", "--record") == 0
    assert checkpoint.load(style_path).keys() == after.keys() - {"training"}


def test_a_style_by_its_name(
    style_path: Path, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(styles, "FOLDER", style_path.parent)
    assert command("sweep", "checks", "--count", 1, "--size", SIZE, "--noise_factors", 0) == 0
    assert command("diversity", "checks", "--count", 1, "--size", SIZE, "--seeds", 2) == 0
    assert command("matched", "check", *MATCHED) == 2
    assert "no checkpoint at check, and no style of that name ships; choose from checks" in capsys.readouterr().err


def test_matched_judges_what_goes_on_from_the_pass(
    style_path: Path, command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gaps = []
    for refine in (0, 3):
        assert command("matched", style_path, *MATCHED, "--noise_iterations", 0, "--refine", refine) == 0
        gaps.append([float(row["gap_closed"]) for row in rows_of(tmp_path / "out" / "matched" / "checks.csv")])
    assert all(after > before for before, after in zip(*gaps, strict=True))
    report = (tmp_path / "out" / "matched" / "checks.md").read_text()
    assert report.startswith("# One pass and 3 iterations from it against 4 iterations of L-BFGS")
    capsys.readouterr()
    assert command("matched", style_path, *MATCHED, "--refine", 3, "--record") == 2
    assert capsys.readouterr().err == "evaluate: error: --record keeps the figures of one pass; leave out --refine\n"


def test_a_picture_that_was_stopped_on_its_way_is_not_judged(
    style_path: Path, command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("matched", style_path, *MATCHED, "--noise_iterations", 0, "--refine", 3)
    assert command(*words[:-2]) == 0  # its references are kept
    (tmp_path / "out" / "matched" / "checks.md").unlink()

    def stopped(_loss: object, start: Tensor, *_: object) -> Tensor:
        raise gatys.Interrupted(start)

    monkeypatch.setattr(gatys, "descend", stopped)
    assert command(*words) == program.STOPPED
    assert not (tmp_path / "out" / "matched" / "checks.md").exists()


def test_times_of_another_machine_are_not_told(
    style_path: Path, command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("matched", style_path, *MATCHED, "--noise_iterations", 0)
    assert command(*words) == 0
    report = tmp_path / "out" / "matched" / "checks.md"

    def times() -> list[str]:
        row = next(line for line in report.read_text().splitlines() if line.startswith("| checks"))
        return [cell.strip() for cell in row.split("|")[-3:-1]]

    assert "-" not in times()
    for room in (matched, yardstick):
        monkeypatch.setattr(room, "describe", lambda _: "another machine")
    assert command(*words) == 0
    assert times() == ["-", "-"]


def test_matched_records_without_the_sample_photos(
    style_path: Path, command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matched, "SAMPLE", tmp_path / "none")  # as where only the package is installed
    assert command("matched", style_path, *MATCHED, "--noise_iterations", 0, "--record") == 0
    fields = checkpoint.load(style_path)
    assert "gap_closed" in fields["quality"] and "sample_loss" not in fields


def test_matched_goes_on_after_an_interruption(
    style_path: Path, command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texture: Tensor
) -> None:
    real, calls = gatys.descend, []

    def counted(*args: Any) -> Tensor:
        calls.append(args[1])
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(gatys, "descend", counted)
    stop_at = 3
    assert command("matched", style_path, *MATCHED) == program.STOPPED
    log = tmp_path / "out" / "references" / "rows.jsonl"
    assert len(log.read_text().splitlines()) == 2
    with log.open("a") as file:
        file.write('{"key": "cut by a cra')
    stop_at, calls[:] = 0, []
    assert command("matched", style_path, *MATCHED) == 0
    assert len(calls) == 2  # the second photo's two runs
    before = (tmp_path / "out/matched/checks.csv").read_text()

    calls.clear()  # nothing left to do; another generator of the same loss has the same references
    other = save_style(tmp_path / "other.pt", texture)
    assert command("matched", style_path, other, *MATCHED) == 0
    assert calls == []
    assert rows_of(tmp_path / "out/matched/checks+other.csv")[0]["gap_closed"] == before.splitlines()[1].split(",")[3]

    assert command("matched", style_path, "--count", 1, "--sizes", SIZE, "--iterations", 3) == 0
    assert len(calls) == 2  # other settings are other references
    calls.clear()
    next(log.parent.glob("*.png")).unlink()
    assert command("matched", style_path, *MATCHED) == 0
    assert len(calls) == 1  # a picture that went is made again
    calls.clear()
    assert command("matched", style_path, *MATCHED, "--fresh") == 0
    assert len(calls) == 4


def test_another_loss_has_other_references(style_path: Path, tmp_path: Path, texture: Tensor) -> None:
    key = judging.open_judged(style_path).loss_key
    assert judging.open_judged(save_style(tmp_path / "same.pt", texture)).loss_key == key
    heavy = to_plain(RECIPE) | {"tv_weight": 2.0}
    assert judging.open_judged(save_style(tmp_path / "heavy.pt", texture, recipe=heavy)).loss_key != key
    assert judging.open_judged(save_style(tmp_path / "grey.pt", texture * 0.5)).loss_key != key


def test_bad_checkpoints_are_named(
    style_path: Path, command: Callable[..., int], tmp_path: Path, texture: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    thumbnail = save_style(tmp_path / "thumb.pt", texture[..., :16, :16])
    cases = [
        ((tmp_path / "none.pt",), "no checkpoint at"),
        ((thumbnail,), "add --texture FILE"),
        ((save_style(tmp_path / "alone.pt", texture, content=False),), "paints no photos"),
        ((style_path, style_path, "--texture", tmp_path / "checks.png"), "one checkpoint"),
        ((style_path, "--texture", tmp_path / "none.png"), "no such file"),
    ]
    for words, message in cases:
        assert command("matched", *words) == 2
        error = capsys.readouterr().err
        assert error.startswith("evaluate: error: ")
        assert message in error
        assert error.count("\n") == 1
    assert command("matched", thumbnail, "--texture", tmp_path / "checks.png", "--count", 1, *MATCHED[2:]) == 0


def test_photos_that_cannot_be_read_are_left_out(photo_dir: Path, tmp_path: Path) -> None:
    (photo_dir / "1.png").write_bytes(b"no picture")
    said: list[str] = []
    assert [path.name for path in judging.choose_photos(photo_dir, 2, 64, said.append)] == ["0.png", "2.png"]
    assert "1.png" in said[0]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="no picture"):
        judging.choose_photos(empty, 2, 16, said.append)


def test_a_photo_that_is_too_narrow_is_left_out(photo_dir: Path) -> None:
    images.save_image(picture(4, 300), photo_dir / "1.png")
    said: list[str] = []
    assert [path.name for path in judging.choose_photos(photo_dir, 2, 32, said.append)] == ["0.png", "2.png"]
    assert said == [f"left out: {photo_dir / '1.png'}: 32x1 px as it would be judged, and 16 are the least"]


# ------------------------------------------------------------------------------------------------------------- ablate


@pytest.fixture
def pair(photo_dir: Path, texture_path: Path, tmp_path: Path) -> str:
    reference = tmp_path / "reference.png"
    images.save_image(picture(24, 32, seed=9), reference)
    return f"{photo_dir / '0.png'}:{texture_path}:{reference}"


ABLATE = ("--size", 32, "--iterations", 3, 1, "--optimizers", "lbfgs", "adam", "--inits", "content")


def test_ablate_scores_the_grid(command: Callable[..., int], pair: str, tmp_path: Path) -> None:
    assert command("ablate", "--pairs", pair, *ABLATE, "--extractors", "lite", "--losses", "1:1e6:0", "1:1e3:1") == 0
    out = tmp_path / "out" / "ablate"
    rows = rows_of(out / "ablate.csv")
    assert len(rows) == 2 * 2 * 2
    assert {(row["optimizer"], row["weights"], row["iterations"]) for row in rows} == {
        (optimizer, weights, count)
        for optimizer in ("lbfgs", "adam")
        for weights in ("1:1e+06:0", "1:1000:1")
        for count in ("1", "3")
    }
    for row in rows:
        error = float(row["rmse"])
        assert float(row["psnr"]) == pytest.approx(-20 * math.log10(error))
        assert -1 <= float(row["ssim"]) < 1
    text = (out / "ablate.md").read_text()
    assert "## By optimizer" in text
    assert "## By init" not in text  # it was not varied
    assert "Failed" not in text
    assert len(list((out / "pictures").glob("*.png"))) == 8
    assert images.load_image(out / "1-0+checks.jpg").shape[-1] > 2 * reports.TILE


def test_ablate_goes_on_after_an_interruption(
    command: Callable[..., int], pair: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = gatys.paint, []

    def counted(*args: Any) -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(gatys, "paint", counted)
    words = ("ablate", "--pairs", pair, *ABLATE, "--extractors", "lite", "--losses", "1:1e6:0")
    assert command(*words) == program.STOPPED
    assert command(*words) == 0
    assert len(calls) == 3  # one finished, one stopped, the stopped one again
    images.save_image(picture(24, 32, seed=5), tmp_path / "reference.png")
    before = rows_of(tmp_path / "out/ablate/ablate.csv")
    assert command(*words) == 0
    assert len(calls) == 3  # another reference picture asks for scores, not for pictures
    assert rows_of(tmp_path / "out/ablate/ablate.csv")[0]["rmse"] != before[0]["rmse"]


def test_a_failing_cell_does_not_stop_the_grid(
    command: Callable[..., int], pair: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = gatys.paint

    def failing(*args: Any) -> Tensor:
        if args[3].optimizer == "lbfgs":
            real(*args[:3], GatysRecipe(**(asdict(args[3]) | {"iterations": 1})), *args[4:])
            raise ValueError("the loss is nan at iteration 2")
        return real(*args)

    monkeypatch.setattr(gatys, "paint", failing)
    assert command("ablate", "--pairs", pair, *ABLATE, "--extractors", "lite", "--losses", "1:1e6:0") == 0
    rows = rows_of(tmp_path / "out/ablate/ablate.csv")
    state = {(row["optimizer"], row["iterations"]): row["error"] for row in rows}
    assert state[("lbfgs", "1")] == ""  # met before it failed
    assert state[("lbfgs", "3")] == "the loss is nan at iteration 2"
    assert state[("adam", "1")] == state[("adam", "3")] == ""
    assert "the loss is nan" in (tmp_path / "out/ablate/ablate.md").read_text()


def test_a_network_that_is_not_at_hand_names_the_flag_of_the_grid(
    command: Callable[..., int], pair: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_name: str) -> None:
        raise ValueError("no weights; use --perceptual lite")

    monkeypatch.setattr(ablation, "load_encoder", none)
    command("ablate", "--pairs", pair, *ABLATE, "--extractors", "lite", "--losses", "1:1e6:0")
    errors = {row["error"] for row in rows_of(tmp_path / "out/ablate/ablate.csv")}
    assert errors == {"no weights; use --perceptual lite (of this command: --extractors lite)"}


def test_bad_pairs(
    command: Callable[..., int], pair: str, tmp_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, texture, reference = pair.split(":")
    images.save_image(picture(48, 64), tmp_path / "large.png")
    bad = {
        f"{content}:{texture}:{tmp_path / 'none.png'}": "none.png: no such file",
        f"{content}:{texture}:{tmp_path / 'large.png'}": "is 64x48 px and the result 32x24; give --size 64",
        f"{photo_dir / '9.png'}:{texture}:{reference}": "9.png: no such file",
    }
    small = (*ABLATE, "--extractors", "lite", "--losses", "1:1e6:0")
    assert command("ablate", "--pairs", *bad, pair, *small) == 0
    said = capsys.readouterr().out.splitlines()
    for message in bad.values():
        assert sum(message in line and not line.startswith("- ") for line in said) == 1  # one line each
    rows = rows_of(tmp_path / "out/ablate/ablate.csv")
    assert sum(bool(row["error"]) for row in rows) == 3 * 4
    assert sum(bool(row["rmse"]) for row in rows) == 4

    for words, message in [
        (["--pairs", *bad], "no cell of the grid could be painted"),
        (["--pairs", "a.jpg"], "give content.jpg:texture.jpg"),
        (["--pairs", tmp_path / "none.csv"], "no such file of pairs"),
        (["--pairs", pair, "--losses", "1:1e6"], "content:style:tv"),
        (["--pairs", pair, "--losses", "1:-1:0"], "give weights of 0 or more"),
        (["--pairs", pair, "--losses", "nan:1:0"], "give weights of 0 or more"),
    ]:
        assert command("ablate", *small[:-2], "--losses", "1:1e6:0", *words) == 2
        assert message in capsys.readouterr().err


def test_pairs_from_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("content,texture,reference\na.jpg,s.jpg,r.png\nb.jpg,s.jpg,\n")
    assert grid.read_pairs([str(path)]) == [
        grid.Pair(tmp_path / "a.jpg", tmp_path / "s.jpg", tmp_path / "r.png"),
        grid.Pair(tmp_path / "b.jpg", tmp_path / "s.jpg", None),
    ]
    path.write_text("photo,style\na,b\n")
    with pytest.raises(ValueError, match="content,texture,reference"):
        grid.read_pairs([str(path)])
    path.write_text("content,texture\na.jpg\n")
    with pytest.raises(ValueError, match="line 2"):
        grid.read_pairs([str(path)])
    path.write_text('content,texture\n"' + 140_000 * "a")
    with pytest.raises(ValueError, match=r"pairs.csv: not a table in text; save the table as CSV"):
        grid.read_pairs([str(path)])


def test_the_grid_has_the_reports_layers() -> None:
    def recipe(extractor: str, optimizer: str = "adam") -> GatysRecipe:
        pair = grid.Pair(Path("a"), Path("b"))
        return grid.recipe_of(grid.Cell(pair, extractor, optimizer, "noise", grid.Weights(1, 1e6, 0.5)), 1500)

    vgg16 = recipe("vgg16")
    assert (vgg16.perceptual, vgg16.content_layers) == ("vgg16", ("relu2_2",))
    assert vgg16.style_layers == ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    assert (vgg16.style_weights, vgg16.content_weights, vgg16.tv_weight) == ((1e6,) * 4, (1.0,), 0.5)
    assert (vgg16.optimizer, vgg16.iterations, vgg16.init) == ("adam", 1500, "noise")
    assert recipe("resnet18").style_layers == ("conv1", "layer1", "layer2", "layer3")
    assert recipe("vgg19").style_layers == recipe("lite").style_layers
    assert len(recipe("vgg19").style_weights) == 6
    assert recipe("squeezenet1_1").style_layers is None


# --------------------------------------------------------------------------------------------------- sweep, diversity


def test_noise_sweep(style_path: Path, command: Callable[..., int], tmp_path: Path) -> None:
    assert command("sweep", style_path, "--count", 2, "--size", SIZE, "--noise_factors", 0, 1, 3) == 0
    out = tmp_path / "out" / "sweep"
    rows = rows_of(out / "checks-noise_factor.csv")
    moved = [float(row["moved"]) for row in rows if row["photo"] == "0.png"]
    assert moved[0] == 0 < moved[1] < moved[2]
    assert "| 3 " in (out / "checks-noise_factor.md").read_text()
    assert images.load_image(out / "checks-noise_factor.jpg").shape[-1] >= 4 * reports.TILE


def test_diversity(style_path: Path, command: Callable[..., int], tmp_path: Path) -> None:
    assert command("diversity", style_path, "--count", 2, "--size", SIZE, "--seeds", 3) == 0
    row = rows_of(tmp_path / "out/diversity/checks.csv")[0]
    assert float(row["diversity"]) > 0
    assert float(row["relative"]) == pytest.approx(float(row["diversity"]) / float(row["style"]))
    assert images.load_image(tmp_path / "out/diversity/checks.jpg").shape[-1] >= 5 * reports.TILE
    assert command("diversity", style_path, "--count", 1, "--size", SIZE, "--noise_factor", 0) == 0
    assert float(rows_of(tmp_path / "out/diversity/checks.csv")[0]["diversity"]) == 0
    assert command("diversity", style_path, "--seeds", 1) == 2


@pytest.mark.parametrize(
    ("words", "kept"), [("diversity", False), ("sweep", False), ("synthesis", True), ("matched", True)]
)
def test_ctrl_c_says_what_is_kept(
    words: str,
    kept: bool,
    style_path: Path,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate, "_run", Mock(side_effect=KeyboardInterrupt))
    assert command(words, style_path) == program.STOPPED
    assert ("the same command goes on" in capsys.readouterr().err) == kept


def test_training_sweep(
    command: Callable[..., int], tmp_path: Path, texture_path: Path, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [
        f"--{name} {getattr(RECIPE, name)}" for name in ("batch_size", "style_size", "scales", "width", "perceptual")
    ]
    words = ["sweep", "--texture", texture_path, "--data_dir", photo_dir, "--count", 1, "--size", SIZE]
    words += [word for flag in small for word in flag.split()] + ["--iterations", 2, "--image_size", 32]
    words += ["--noise_factors", 0, 1, "--ratios", 1, 4]
    assert command(*words) == 0
    out = tmp_path / "out" / "sweep"
    rows = rows_of(out / "checks-training.csv")
    assert [(row["noise_factor"], row["ratio"]) for row in rows] == [
        ("0.0", "1.0"),
        ("0.0", "4.0"),
        ("1.0", "1.0"),
        ("1.0", "4.0"),
    ]
    runs = sorted((out / "runs").glob("*.pt"))
    recipes = [checkpoint.load(path)["recipe"] for path in runs]
    assert sorted((recipe["noise_factor"], recipe["content_weights"]) for recipe in recipes) == [
        (0.0, [0.1, 0.2]),
        (0.0, [0.4, 0.8]),
        (1.0, [0.1, 0.2]),
        (1.0, [0.4, 0.8]),
    ]
    for recipe in recipes:  # as train.py on lite has it
        assert (recipe["style_weights"], recipe["content_layers"]) == ([3, 3, 4, 4, 3], ["relu3_1", "blur_8"])
    assert images.load_image(out / "checks-training-1-0.jpg").shape[-1] >= 2 * reports.TILE

    trained: list[object] = []
    real = sweeps.trainer.train
    monkeypatch.setattr(sweeps.trainer, "train", lambda job, *rest: trained.append(job) or real(job, *rest))
    runs[0].unlink()
    assert command(*words) == 0
    assert len(trained) == 1
    assert rows_of(out / "checks-training.csv") == rows


def test_synthesis(
    command: Callable[..., int], tmp_path: Path, texture: Tensor, style_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_style(tmp_path / "alone.pt", texture, content=False)
    words = ("synthesis", path, "--size", SIZE, "--iterations", 4, "--seeds", 2, "--record")
    assert command(*words) == 0
    folder = tmp_path / "out" / "synthesis"
    rows = rows_of(folder / "alone.csv")
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert rows[0]["pass_total"] != rows[1]["pass_total"]
    (log,) = (tmp_path / "out" / "references" / "rows.jsonl").read_text().splitlines()
    reference = json.loads(log)
    first, best = reference["first"]["total"], reference["best"]["total"]
    assert float(rows[0]["gap_closed"]) == pytest.approx((first - float(rows[0]["pass_total"])) / (first - best))
    assert images.load_image(folder / f"alone-{SIZE}.jpg").shape[-1] >= 4 * reports.TILE
    recorded = checkpoint.load(path)
    assert recorded["sample_loss"] == pytest.approx(float(rows[0]["pass_total"]), abs=1e-4)
    assert recorded["quality"]["diversity"] > 0

    capsys.readouterr()
    assert command("synthesis", style_path) == 2
    assert "paints photos and makes no texture" in capsys.readouterr().err
    assert command("synthesis", path, path, "--texture", tmp_path / "checks.png") == 2
    assert "one checkpoint" in capsys.readouterr().err


def test_curve_judges_what_runs_kept(
    command: Callable[..., int],
    tmp_path: Path,
    texture_path: Path,
    photo_dir: Path,
    style_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {name: getattr(RECIPE, name) for name in ("batch_size", "style_size", "scales", "width", "perceptual")}
    given |= {"iterations": 4, "image_size": 32}
    for name, rate in (("first", 5e-3), ("second", 1e-3)):
        run = Run(
            name=name, checkpoint_dir=tmp_path, run_dir=tmp_path / "runs", save_every=2, preview_every=0, workers=0
        )
        job = prepare(given | {"learning_rate": rate}, run, texture_path, photo_dir, (), CPU)
        trainer.train(job)
    runs = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    words = ("--count", 2, "--size", SIZE, "--iterations", 4)
    assert command("curve", *runs, *words) == 0
    folder = tmp_path / "out" / "curve"
    rows = rows_of(folder / "first+second.csv")
    assert [(row["run"], row["step"]) for row in rows] == [
        (name, step) for name in ("first", "second") for step in ("2", "4")
    ]
    seconds = [float(row["seconds"]) for row in rows]
    assert 0 < seconds[0] < seconds[1] < 60
    assert images.load_image(folder / "first+second.png").shape[-1] > 800
    # The last point of a run is what `matched` says of the style.
    assert command("matched", tmp_path / "first.pt", *MATCHED, "--noise_iterations", 0) == 0
    gaps = [float(row["gap_closed"]) for row in rows_of(tmp_path / "out" / "matched" / "first.csv")]
    assert float(rows[1]["gap_closed"]) == pytest.approx(sum(gaps) / 2)
    assert len((tmp_path / "out" / "references" / "rows.jsonl").read_text().splitlines()) == 2  # one loss, two photos
    twin = tmp_path / "others" / "first"
    shutil.copytree(runs[0], twin)
    assert command("curve", runs[0], twin, *words) == 0
    (made,) = set(folder.glob("*.csv")) - {folder / "first+second.csv"}
    assert [row["run"] for row in rows_of(made)] == [str(runs[0])] * 2 + [str(twin)] * 2

    capsys.readouterr()
    assert command("curve", tmp_path / "runs") == 2
    assert "no checkpoints of a run in it" in capsys.readouterr().err
    (runs[0] / "checkpoints" / "000001.pt").write_bytes(style_path.read_bytes())  # from before clocks were kept
    assert command("curve", runs[0], *words) == 2
    assert "000001.pt does not tell how long it was trained" in capsys.readouterr().err
    old = tmp_path / "runs" / "old" / "checkpoints" / "000004.pt"
    old.parent.mkdir(parents=True)
    old.write_bytes(style_path.read_bytes())
    assert command("curve", tmp_path / "runs" / "old") == 2
    assert "does not tell how long it was trained" in capsys.readouterr().err


def test_sweep_needs_to_know_what(
    style_path: Path, command: Callable[..., int], photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("sweep") == 2
    assert "name a checkpoint, or" in capsys.readouterr().err
    assert command("sweep", style_path, "--data_dir", photo_dir) == 2
    assert "leave the checkpoint out" in capsys.readouterr().err
    assert command("sweep", style_path, "--iterations", 5) == 2
    assert "--iterations is for training runs" in capsys.readouterr().err
    assert command("sweep", "--texture", photo_dir / "0.png", "--data_dir", photo_dir, "--ratios", 0) == 2
    assert "above 0" in capsys.readouterr().err
    assert command("sweep", "--texture", photo_dir / "0.png", "--data_dir", photo_dir, "--noise_factor", 1) == 2
    assert "give that one" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command("matched", style_path, "--noise_iterations", -1)
    assert "-1 is less than 0" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- reports


def test_rows_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.jsonl"
    rows = reports.Rows(path)
    rows.add("a", {"x": 1})
    with path.open("a") as file:
        file.write('{"key": "b", "x"')  # a crash
    rows.add("c", {"x": 3})
    again = reports.Rows(path)
    assert [again.get(key) for key in "abc"] == [{"key": "a", "x": 1}, None, {"key": "c", "x": 3}]
    assert reports.Rows(path, fresh=True).get("a") is None
    again.add("a", {"x": 2})
    assert reports.Rows(path).get("a") == {"key": "a", "x": 2}


def test_fingerprint_tells_apart() -> None:
    one = torch.zeros(2, 3)
    assert reports.fingerprint(one, {"a": 1, "b": [2]}) == reports.fingerprint(one.clone(), {"b": [2], "a": 1})
    keys = {reports.fingerprint(*parts) for parts in ([one], [one.T], [one + 1], [one.double()], ["a"], [1], [["a"]])}
    assert len(keys) == 7


def test_long_names_of_two_styles_stay_two() -> None:
    long = "a/" * 100
    stems = [reports.file_stem(f"{long}{name}.pt") for name in "bc"]
    assert stems[0] != stems[1] and max(map(len, stems)) < 140
    assert reports.file_stem("./b.pt", "c") == "b.pt+c"


def test_tables(tmp_path: Path) -> None:
    assert reports.markdown(["a", "bb"], [["1", "x|y"]]) == "| a | bb   |\n| - | ---- |\n| 1 | x\\|y |\n"
    figures = [reports.number(value, 1, 300) for value in (1.25, None, math.nan, math.inf)]
    assert figures == ["1.2", "-", "-", "> 300"]
    reports.write_csv(tmp_path / "t.csv", [{"photo": os.fsdecode(b"caf\xe9.jpg")}])  # no UTF-8
    assert b"caf\xe9.jpg" in (tmp_path / "t.csv").read_bytes()
    reports.write_csv(tmp_path / "t.csv", [{"a": 1}, {"b": "x,y"}])
    assert (tmp_path / "t.csv").read_text() == 'a,b\n1,\n,"x,y"\n'


def test_tiles_of_a_sheet_are_equal() -> None:
    page = reports.fit(torch.zeros(1, 3, 10, 20), 20, 20)
    assert page.shape == (1, 3, 20, 20)
    assert page[..., 5:15, :].max() == 0
    assert page[..., :5, :].min() == page[..., 15:, :].min() == 1
    photo, tall = picture(40, 80), picture(64, 16)
    one = reports.titled_sheet([[("a", photo), ("b", photo)]], width=64)
    two = reports.titled_sheet([[("a", photo), ("b", tall)], [("a", tall), ("b", photo)]], width=64)
    assert two.shape[-1] == one.shape[-1]
    assert two.shape[-2] == one.shape[-2] + 64 + one.shape[-2] - 32 - 4  # rows of 32 and 64 px, the same around them


def test_help_answers_without_torch() -> None:
    """The command line's own imports, before it is parsed."""
    text = Path(evaluate.__file__).read_text()
    top = text[: text.index("\n\n\n")]
    ours = {line.partition(" import ")[0] for line in top.splitlines() if line.startswith("from texturenet.")}
    assert ours == {"from texturenet.config", "from texturenet.presets"}
    assert "from texturenet import program\n" in top
    for words in (
        ["--help"],
        ["matched", "--help"],
        ["ablate", "--help"],
        ["sweep", "--help"],
        ["diversity", "--help"],
    ):
        with pytest.raises(SystemExit) as stop:
            evaluate.main(words)
        assert stop.value.code == 0
