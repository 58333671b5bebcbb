"""`--start_from auto`: the style that does best goes on, and the run is the one that naming it would have been."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainer import assert_same_weights, job

from texturenet import auditions, checkpoint, styles
from texturenet.trainer import train

AUTO = {"start_from": "auto", "iterations": 30}


def ships(style: Path, folder: Path, name: str, **weights: torch.Tensor) -> Path:
    """A trained style as one that ships, in `folder`."""
    fields = {
        key: value for key, value in checkpoint.load(style).items() if key not in ("training", "format", "version")
    }
    folder.mkdir(exist_ok=True)
    checkpoint.save(folder / f"{name}.pt", **fields | {"name": name, "weights": fields["weights"] | weights})
    return folder / f"{name}.pt"


@pytest.fixture
def shop(tmp_path: Path, texture_path: Path, photo_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where styles ship from: one that learned the texture, and one whose every painting is white."""
    learned = train(job(tmp_path / "before", texture_path, photo_dir, {"iterations": 20}))
    monkeypatch.setattr(styles, "FOLDER", tmp_path / "shop")
    ships(learned, tmp_path / "shop", "fitting")
    ships(learned, tmp_path / "shop", "awry", **{"to_rgb.bias": torch.full((3,), 9.0)})
    return tmp_path / "shop"


@pytest.mark.usefixtures("shop")
def test_the_best_goes_on_and_is_named(
    tmp_path: Path, texture_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = train(job(tmp_path, texture_path, photo_dir, AUTO))
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("begun with")]
    assert len(said) == 1 and said[0].startswith("begun with fitting, of all that ship the best after 2 steps: ")
    fields = checkpoint.load(path)
    assert (fields["recipe"]["start_from"], fields["started_from"]["name"]) == ("fitting", "fitting")
    named = train(job(tmp_path, texture_path, photo_dir, AUTO | {"start_from": "fitting"}, name="named"))
    assert_same_weights(path, named)


@pytest.mark.usefixtures("shop")
def test_another_slope_than_the_chosen_one_was_trained_with_is_told(
    tmp_path: Path, texture_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for slope, told in ((0.2, 0), (0.5, 1)):
        auditions.begun(job(tmp_path, texture_path, photo_dir, AUTO | {"slope": slope}))
        assert capsys.readouterr().err.count("their slope was 0.2, and is 0.5 from here on") == told


@pytest.mark.usefixtures("shop")
def test_a_run_that_is_resumed_has_no_second_trial(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    path = train(job(tmp_path, texture_path, photo_dir, AUTO | {"iterations": 1}))
    prepared = job(tmp_path, texture_path, photo_dir, {"start_from": "auto", "iterations": 2}, resume=path)
    assert auditions.begun(prepared) is prepared
    assert checkpoint.load(train(prepared))["started_from"]["name"] == "fitting"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("given", [{"width": 2}, {"generator": "residual"}])
def test_a_network_that_none_has_is_drawn(
    given: dict[str, Any],
    tmp_path: Path,
    texture_path: Path,
    photo_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = auditions.begun(job(tmp_path, texture_path, photo_dir, AUTO | given))
    assert "no style that ships has this network; the weights are drawn from the seed" in capsys.readouterr().err
    assert (begun.recipe.start_from, begun.start_weights) == (None, None)


def test_runs_of_the_users_own_are_left_out(shop: Path, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    own = train(job(tmp_path, texture_path, photo_dir, {"iterations": 25}, name="own"))
    own.rename(shop / "own.pt")
    begun = auditions.begun(job(tmp_path, texture_path, photo_dir, AUTO))
    assert begun.started_from is not None and begun.started_from["name"] == "fitting"


def test_a_damaged_style_is_told(
    shop: Path, tmp_path: Path, texture_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "awry.pt").write_bytes(b"PK nothing more")
    begun = auditions.begun(job(tmp_path, texture_path, photo_dir, AUTO))
    assert begun.started_from is not None and begun.started_from["name"] == "fitting"
    assert f"left out of the trials: {shop / 'awry.pt'}" in capsys.readouterr().err


def test_a_texture_alone_begins_with_a_texture(shop: Path, tmp_path: Path, texture_path: Path) -> None:
    learned = train(job(tmp_path, texture_path, None, {"iterations": 2}, name="plain"))
    ships(learned, shop / "textures", "plain")
    begun = auditions.begun(job(tmp_path, texture_path, None, AUTO))
    assert begun.started_from is not None and begun.started_from["name"] == "plain"


def test_noise_at_the_scales_of_the_one_that_is_begun_with(
    shop: Path, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    coarse = train(job(tmp_path, texture_path, photo_dir, {"iterations": 20, "noise_scales": 1}, name="coarse"))
    for path in styles.shipped():
        path.unlink()
    ships(coarse, shop, "coarse")
    prepared = job(tmp_path, texture_path, photo_dir, AUTO)
    assert auditions.begun(prepared).recipe.noise_scales == 1
    asked = replace(prepared, recipe=replace(prepared.recipe, noise_scales=2))
    assert auditions.begun(asked).recipe.noise_scales == 2


def test_steps_of_a_trial() -> None:
    assert [auditions.steps_of(run) for run in (1, 30, 900, 50_000)] == [1, 2, 60, 60]


@pytest.mark.usefixtures("shop")
def test_photos_that_are_away_for_a_while_are_waited_for(
    tmp_path: Path, texture_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = job(tmp_path, texture_path, photo_dir, AUTO)
    elsewhere = photo_dir.rename(photo_dir.with_name("elsewhere"))
    back = threading.Timer(0.5, elsewhere.rename, [photo_dir])
    back.start()
    begun = auditions.begun(prepared)
    back.join()
    assert begun.started_from is not None and begun.started_from["name"] == "fitting"
    assert "the photos are back after 1 s" in capsys.readouterr().err
