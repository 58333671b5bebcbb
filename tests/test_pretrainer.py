"""The classifier's training on a few pictures: it learns, and a run that stopped is the same run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_labelled import save_folders

from texturenet import images, pretrainer
from texturenet.classifier import Classifier
from texturenet.config import PretrainRecipe
from texturenet.labelled import Labelled, open_labelled
from texturenet.monitor import StepEvent

RECIPE = PretrainRecipe(epochs=2, batch_size=4, learning_rate=0.02, image_sizes=(16, 24), held_out=4)
CPU = torch.device("cpu")


@pytest.fixture
def pictures(tmp_path: Path) -> Labelled:
    return open_labelled(save_folders(tmp_path / "data"))  # 8 to train on: two steps an epoch


class Seen:
    """A listener that keeps what it hears, and may end the run as Ctrl-C does."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.events: list[StepEvent] = []
        self.stop_after = stop_after

    def on_step(self, event: StepEvent) -> None:
        self.events.append(event)
        if event.step == self.stop_after:
            raise KeyboardInterrupt

    def on_preview(self, event: object) -> None: ...

    def close(self) -> None: ...


def train(pictures: Labelled, path: Path, recipe: PretrainRecipe = RECIPE, **options: Any) -> Classifier:
    resumed = pretrainer.load_run(path, recipe, pictures)
    return pretrainer.train(recipe, pictures, CPU, path, resumed=resumed, **({"precision": "fp32"} | options))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_that_stopped_is_the_same_run(
    pictures: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(pretrainer, "SAVE_EVERY", 1)
    monkeypatch.setattr(pretrainer, "LOG_EVERY", 1)
    whole, rest = Seen(), Seen()
    straight = train(pictures, tmp_path / "a.pt", listeners=[whole], precision=precision)
    with pytest.raises(KeyboardInterrupt):  # in step 3, before it was saved
        train(pictures, tmp_path / "b.pt", listeners=[Seen(stop_after=3)], precision=precision)
    resumed = train(pictures, tmp_path / "b.pt", listeners=[rest], workers=1, precision=precision)
    assert [event.step for event in whole.events] == [1, 2, 3, 4]
    assert [event.losses for event in rest.events] == [event.losses for event in whole.events[2:]]
    for (name, value), again in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(value, again), name


def test_a_finished_run_is_not_trained_again(pictures: Labelled, tmp_path: Path) -> None:
    recipe = replace(RECIPE, seed=2**64 + 1)  # a seed may be of any size
    first, heard = train(pictures, tmp_path / "a.pt", recipe), Seen()
    again = train(pictures, tmp_path / "a.pt", recipe, listeners=[heard])
    assert heard.events == []
    assert torch.equal(first.scores.weight, again.scores.weight)
    assert not again.training


def test_it_learns_and_tells_its_accuracy(tmp_path: Path) -> None:
    for i in range(16):
        for label, colour in enumerate(((0.9, 0.2, 0.2), (0.2, 0.2, 0.9))):
            shade = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 16, 16) * (0.5 + i / 32)
            images.save_image(shade, tmp_path / "data" / str(label) / f"{i}.png")
    pictures, heard, said = open_labelled(tmp_path / "data"), Seen(), []
    recipe = replace(RECIPE, epochs=6, held_out=8, batch_size=8, image_sizes=(16,))
    train(pictures, tmp_path / "a.pt", recipe, listeners=[heard], say=said.append)
    assert heard.events[-1].losses["total"] < heard.events[0].losses["total"]
    accuracy = heard.events[-1].losses["accuracy"]
    assert accuracy > 0.8
    assert said[-1] == f"epoch 6/6: {accuracy:.1%} of 8 held-out ones right"


def test_one_cycle() -> None:
    rates = [pretrainer.learning_rate(RECIPE, step, 100) for step in range(100)]
    assert rates.index(max(rates)) == 30
    assert max(rates) == pytest.approx(RECIPE.learning_rate)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert 0 < rates[-1] < 0.01 * RECIPE.learning_rate
    assert 0 < rates[0] < 0.05 * RECIPE.learning_rate


def test_another_run_is_not_gone_on_with(pictures: Labelled, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    assert pretrainer.load_run(path, RECIPE, pictures) is None
    train(pictures, path)
    with pytest.raises(ValueError, match=r"another momentum \(0.9 before, 0.5 now\); type what it had"):
        pretrainer.load_run(path, replace(RECIPE, momentum=0.5), pictures)
    more = open_labelled(save_folders(tmp_path / "more", each=5))
    with pytest.raises(ValueError, match="a run with other pictures"):
        pretrainer.load_run(path, RECIPE, more)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="is not the file of a run; give another -o"):
        pretrainer.load_run(path, RECIPE, pictures)


def test_a_loss_that_is_not_finite_ends_the_run(pictures: Labelled, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the loss is not finite; try a lower --learning_rate"):
        train(pictures, tmp_path / "a.pt", replace(RECIPE, learning_rate=1e30))
    assert pretrainer.load_run(tmp_path / "a.pt", replace(RECIPE, learning_rate=1e30), pictures) is not None
