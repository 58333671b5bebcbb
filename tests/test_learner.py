from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import picture
from test_trainer import job
from torch import Tensor

from texturenet import learner as learner_room
from texturenet.config import Recipe
from texturenet.learner import Learner, OutOfMemory, build
from texturenet.processes import Processes


@pytest.fixture
def photo() -> Tensor:
    return picture(32, 32, 1, batch=4)


def learner(tmp_path: Path, texture_path: Path, photo_dir: Path | None, recipe: dict[str, Any], **run: Any) -> Learner:
    return Learner(job(tmp_path, texture_path, photo_dir, {"batch_size": 4, **recipe}, precision="fp32", **run))


def limit_memory(
    monkeypatch: pytest.MonkeyPatch, pictures: int, error: type[Exception] = torch.OutOfMemoryError
) -> None:
    """No more than so many pictures pass the generator at once."""
    paint = Learner._paint

    def limited(self: Learner, photo: Tensor | None, noise: list[Tensor]) -> Tensor:
        if len(noise[0]) > pictures:
            raise error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return paint(self, photo, noise)

    monkeypatch.setattr(Learner, "_paint", limited)


def gradients(one: Learner) -> list[Tensor]:
    return [weight.grad.clone() for weight in one.generator.parameters() if weight.grad is not None]


@pytest.mark.parametrize("recipe", [{}, {"diversity_weight": 0.1, "stability_weight": 1.0}])
def test_parts_have_the_gradients_of_the_batch(
    recipe: dict[str, Any],
    photo: Tensor,
    tmp_path: Path,
    texture_path: Path,
    photo_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = learner(tmp_path, texture_path, photo_dir, recipe)
    expected = whole.step(photo)
    limit_memory(monkeypatch, 2)
    parts = learner(tmp_path, texture_path, photo_dir, recipe, auto_batch=True)
    terms = parts.step(photo)
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-4
    )
    for one, other in zip(gradients(parts), gradients(whole), strict=True):
        assert torch.allclose(one, other, atol=2e-5 * float(other.abs().max()) + 1e-7)
    parts.step(photo)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "step 1: 4 pictures at once do not fit the memory of cpu; the same steps are taken in parts of 2"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_too_little_memory_says_which_batch_fits(
    error: type[Exception],
    photo: Tensor,
    tmp_path: Path,
    texture_path: Path,
    photo_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit_memory(monkeypatch, 1, error)
    with pytest.raises(OutOfMemory, match=r"4 pictures at once .* of cpu; 1 fit: give --batch_size 1, or --auto_batch"):
        learner(tmp_path, texture_path, photo_dir, {}).step(photo)


def test_not_even_one_picture_fits(
    photo: Tensor, tmp_path: Path, texture_path: Path, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_memory(monkeypatch, 0)
    with pytest.raises(OutOfMemory, match="nor do 1; lower --image_size"):
        learner(tmp_path, texture_path, photo_dir, {}, auto_batch=True).step(photo)


def test_more_than_a_cpu_has_is_refused_before_it_is_taken(
    photo: Tensor, tmp_path: Path, texture_path: Path, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux would promise it, and kill the process that uses it."""
    small = learner(tmp_path, texture_path, photo_dir, {})
    small.step(photo)
    monkeypatch.setattr(learner_room, "used_memory", lambda _device: 0)
    values = 25 * small.generator.channels * photo.shape[-1] * photo.shape[-2]
    monkeypatch.setattr(learner_room, "room_left", lambda *_: 2 * values * small.dtype.itemsize)
    with pytest.raises(OutOfMemory, match=r"step 2: 4 pictures at once .* of cpu; 2 fit: give --batch_size 2"):
        small.step(photo)
    monkeypatch.setattr(learner_room, "room_left", lambda *_: 0)
    with pytest.raises(OutOfMemory, match="step 1: 1 picture does not fit the memory of cpu; lower --image_size"):
        learner(tmp_path / "one", texture_path, photo_dir, {"batch_size": 1}).step(photo[:1])


def test_other_errors_are_not_taken_for_a_full_memory(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    with pytest.raises(RuntimeError, match="size of tensor"):
        learner(tmp_path, texture_path, photo_dir, {}).step(picture(32, 48, batch=4))


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_restored_state_takes_the_same_step(
    optimizer: str, photo: Tensor, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    one = learner(tmp_path, texture_path, photo_dir, {"optimizer": optimizer})
    one.step(photo)
    state = deepcopy({"weights": one.generator.state_dict(), "step": one.steps, **one.training()})
    other = learner(tmp_path, texture_path, photo_dir, {"seed": 7, "optimizer": optimizer})
    other.recipe = one.recipe
    other.objective.recipe = one.recipe
    other.restore(state)
    assert {k: v.item() for k, v in one.step(photo).items()} == {k: v.item() for k, v in other.step(photo).items()}
    assert other.smoothed is not None and torch.equal(other.smoothed, one.smoothed)  # type: ignore[arg-type]
    for mine, its in zip(one.generator.parameters(), other.generator.parameters(), strict=True):
        assert torch.equal(mine, its)


@pytest.mark.parametrize("generator", ["pyramid", "residual"])
def test_each_weight_is_one_optimizers(generator: str, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    """Muon has the convolutions that a norm follows; the last one, whose size is the picture's contrast, is Adam's."""
    one = learner(tmp_path, texture_path, photo_dir, {"generator": generator, "width": 4, "optimizer": "muon"})
    named = dict(one.generator.named_parameters())
    names = {id(weight): name for name, weight in named.items()}
    taken = {
        key: {names[id(weight)] for group in optimizer.param_groups for weight in group["params"]}
        for key, optimizer in one.optimizers.items()
    }
    assert taken["muon"] | taken["optimizer"] == set(named) and not taken["muon"] & taken["optimizer"]
    assert {name for name in taken["optimizer"] if named[name].ndim == 4} <= {"to_rgb.weight", "light.mix.weight"}
    assert all(named[name].ndim == 4 for name in taken["muon"])


def test_a_run_goes_on_in_another_precision(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    one = learner(tmp_path, texture_path, photo_dir, {})
    state = {"weights": one.generator.state_dict(), "step": 0, **one.training()}
    assert state["scaler"] == {}
    one.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)  # as fp16 has it
    one.restore(state)
    assert one.scaler.get_scale() == 8.0


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_scaled_step_is_the_step(
    optimizer: str, photo: Tensor, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    """As fp16 has it: both of Muon's optimizers see the gradients unscaled, and an overflow is no step."""
    plain, scaled, overflown = (learner(tmp_path, texture_path, photo_dir, {"optimizer": optimizer}) for _ in range(3))
    before = [weight.clone() for weight in plain.generator.parameters()]
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    overflown.scaler = torch.amp.GradScaler("cpu", init_scale=torch.inf)
    for one in (plain, scaled, overflown):
        one.step(photo)
    for first, mine, its, lost in zip(
        before, *(one.generator.parameters() for one in (plain, scaled, overflown)), strict=True
    ):
        assert torch.equal(mine, its) and torch.equal(lost, first)
    assert any(not torch.equal(mine, first) for mine, first in zip(plain.generator.parameters(), before, strict=True))


def test_diversity_of_a_texture_is_not_shared_out(tmp_path: Path, texture_path: Path) -> None:
    prepared = job(tmp_path, texture_path, None, {"diversity_weight": 1.0, "batch_size": 4}, processes=Processes(0, 2))
    with pytest.raises(ValueError, match="compares 4 pictures at a time, and each of the 2 processes has 2"):
        Learner(prepared)


def test_size_of_the_default_generator() -> None:
    """What docs/reliability.md counts the bytes of a step by."""
    generator, _ = build(Recipe(width=8, padding="reflect"), content=True)
    assert sum(weight.numel() for weight in generator.parameters()) == 117_599


def test_an_overflow_is_left_out_of_the_smoothed_loss(
    photo: Tensor, tmp_path: Path, texture_path: Path, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = learner(tmp_path, texture_path, photo_dir, {})
    one.step(photo)
    before = float(one.smoothed)
    terms = Learner._gradients

    def overflowing(self: Learner, photo: Tensor | None) -> dict[str, Tensor]:
        return terms(self, photo) | {"total": torch.tensor(torch.nan)}

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "_gradients", overflowing)
        one.step(photo)
    assert float(one.smoothed) == before
    one.step(photo)
    assert float(one.smoothed) != before


def test_a_step_is_fused_as_this_device_has_it(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    """Not as the one where the state was saved."""
    one = learner(tmp_path, texture_path, photo_dir, {})
    state = {"weights": one.generator.state_dict(), "step": 0, **one.training()}
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = None
    one.restore(state)
    assert [group["fused"] for group in one.optimizers["optimizer"].param_groups] == [True]
