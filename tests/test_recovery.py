from pathlib import Path

import pytest
import torch
from conftest import picture
from test_trainer import job

from texturenet.learner import Learner
from texturenet.recovery import ROLLBACKS, NonFiniteLoss, Rollback


@pytest.fixture
def learner(tmp_path: Path, texture_path: Path, photo_dir: Path) -> Learner:
    return Learner(job(tmp_path, texture_path, photo_dir))


def weights(learner: Learner) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in learner.generator.parameters()]


def test_back_to_the_last_good_state_at_half_the_rate(
    learner: Learner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = picture(32, 32, 1, batch=2)
    learner.step(photo)
    rollback = Rollback(learner, tmp_path / "s.pt")
    good, rate = weights(learner), learner.learning_rate
    for expected in (0.5, 0.25):  # from the same state again: slower still
        learner.step(photo)
        rollback.back(NonFiniteLoss("step 2: the loss is not a finite number"))
        assert learner.steps == 1
        assert learner.learning_rate == pytest.approx(expected * rate)
        assert all(map(torch.equal, weights(learner), good))
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "step 2: the loss is not a finite number: back to step 1, at 0.5 times the learning rate (1 of 3 times)"
    )
    assert "(2 of 3 times)" in second


def test_not_for_ever(learner: Learner, tmp_path: Path) -> None:
    rollback = Rollback(learner, tmp_path / "s.pt")
    fault = NonFiniteLoss("step 1: style/relu1_1 is not a finite number")
    for _ in range(ROLLBACKS):
        rollback.back(fault)
    with pytest.raises(NonFiniteLoss, match="step 1: style/relu1_1 is not a finite number; try a lower --learning"):
        rollback.back(fault)


def test_slower_rate_is_remembered_with_the_next_good_state(learner: Learner, tmp_path: Path) -> None:
    rollback = Rollback(learner, tmp_path / "s.pt")
    rollback.back(NonFiniteLoss("x"))
    rollback.remember()
    assert learner.training()["slowdown"] == 0.5
    rollback.back(NonFiniteLoss("x"))
    assert learner.slowdown == 0.25
