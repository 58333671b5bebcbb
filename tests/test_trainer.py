import itertools
import os
import resource
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import picture

from texturenet import checkpoint, data, images, keeper, monitor, trainer
from texturenet.config import Recipe, Run, from_plain, to_plain
from texturenet.job import Job, fingerprint, prepare
from texturenet.learner import Learner, learning_rate
from texturenet.objective import Objective
from texturenet.processes import ALONE, Processes
from texturenet.recovery import Interrupted, NonFiniteLoss
from texturenet.trainer import _read, train

# As small as the rooms allow: two scales of 4 channels, 32 px, 2 photos a step.
TINY: dict[str, Any] = {
    "iterations": 4,
    "batch_size": 2,
    "image_size": 32,
    "style_size": 32,
    "scales": 3,
    "width": 4,
    "perceptual": "lite",
}


class Recorder:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.steps: list[monitor.StepEvent] = []
        self.previews: list[monitor.PreviewEvent] = []

    def on_step(self, event: monitor.StepEvent) -> None:
        self.steps.append(event)

    def on_preview(self, event: monitor.PreviewEvent) -> None:
        self.previews.append(event)

    def close(self) -> None:
        pass


def job(
    tmp_path: Path,
    texture_path: Path,
    data_dir: Path | None,
    recipe: dict[str, Any] | None = None,
    resume: Path | str | None = None,
    with_changes: bool = False,
    processes: Processes = ALONE,
    **run: Any,
) -> Job:
    defaults = {"log_every": 1, "preview_every": 0, "save_every": 100, "workers": 0, "name": "s"}
    places = {"checkpoint_dir": tmp_path / "checkpoints", "run_dir": tmp_path / "runs"}
    options = Run(**(defaults | places | run))
    return prepare(
        TINY | (recipe or {}) if resume is None else (recipe or {}),
        options,
        texture_path,
        data_dir,
        (),
        torch.device("cpu"),
        resume,
        say=lambda _: None,
        with_changes=with_changes,
        processes=processes,
    )


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path)["weights"]  # type: ignore[no-any-return]


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("generator", ["pyramid", "residual"])
@pytest.mark.parametrize("with_photos", [True, False])
def test_two_steps_of_each_kind(
    generator: str, with_photos: bool, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    listener = Recorder()
    recipe = {"iterations": 2, "generator": generator}
    path = train(job(tmp_path, texture_path, photo_dir if with_photos else None, recipe, preview_every=2), [listener])
    fields = checkpoint.load(path)
    assert fields["step"] == 2
    assert fields["photos"]["count"] == (6 if with_photos else 0)
    assert fields["generator"]["options"]["content"] is with_photos
    assert fields["generator"]["options"]["padding"] == ("reflect" if with_photos else "circular")
    assert fields["texture"].dtype == torch.uint8
    assert [event.step for event in listener.steps] == [1, 2]
    assert {"total", "style", "content", "tv", "style/relu1_1"} <= listener.steps[-1].losses.keys()
    assert ("content/relu3_1" in listener.steps[-1].losses) is with_photos
    (preview,) = listener.previews
    assert preview.path is not None and preview.path.is_file()


@pytest.mark.slow
def test_the_loss_falls(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    listener = Recorder()
    images.save_image(picture(48, 48, 9), texture_path)
    train(job(tmp_path, texture_path, photo_dir, {"iterations": 80, "learning_rate": 0.02}), [listener])
    total = [event.losses["total"] for event in listener.steps]
    assert sum(total[-20:]) < 0.8 * sum(total[:20])


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_four_steps_are_two_and_two(optimizer: str, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    """A run that is interrupted, and resumed with another number of workers, is the same run to the bit."""
    straight, broken = Recorder(), Recorder()
    whole = train(job(tmp_path / "whole", texture_path, photo_dir, {"optimizer": optimizer}), [straight])

    first = job(tmp_path / "parts", texture_path, photo_dir, {"optimizer": optimizer})
    with pytest.raises(Interrupted):
        train(first, [broken, KillAfter(2, signal.SIGINT)])
    half = checkpoint.load(tmp_path / "parts" / "checkpoints" / "s.pt")["training"]["seconds"]
    second = job(tmp_path / "parts", texture_path, photo_dir, resume="auto", workers=1)
    assert second.start_step == 2
    again = train(second, [broken])
    assert_same_weights(whole, again)
    assert [event.losses for event in straight.steps] == [event.losses for event in broken.steps]
    assert 0 < half < checkpoint.load(again)["training"]["seconds"]  # the clock goes on too


@pytest.mark.parametrize("with_photos", [True, False])
def test_crops_grow(
    with_photos: bool, tmp_path: Path, texture_path: Path, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, ...]] = []
    paint = Learner._paint

    def painted(self: Learner, photo: torch.Tensor | None, noise: list[torch.Tensor]) -> torch.Tensor:
        sizes.append(tuple(noise[0].shape[-2:] if photo is None else photo.shape[-2:]))
        picture = paint(self, photo, noise)
        assert picture.shape[-2:] == sizes[-1]
        return picture

    monkeypatch.setattr(Learner, "_paint", painted)
    recipe, listener = {"image_size": 64, "grow_from": 32}, Recorder()
    photos = photo_dir if with_photos else None
    whole = train(job(tmp_path / "whole", texture_path, photos, recipe, save_every=1), [listener])
    assert sizes == [(32, 32), (32, 32), (64, 64), (64, 64)]
    best = checkpoint.load(tmp_path / "whole" / "runs" / "s" / "checkpoints" / "best.pt")
    assert best["step"] > 2  # losses of small crops are no measure for large ones

    first = job(tmp_path / "parts", texture_path, photos, recipe)
    with pytest.raises(Interrupted):
        train(first, [KillAfter(3, signal.SIGINT)])
    assert_same_weights(whole, train(job(tmp_path / "parts", texture_path, photos, resume="auto", workers=1)))
    assert sizes[4:] == sizes[:4]


def test_time_left_counts_crops_that_grow_in(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(trainer.time, "perf_counter", lambda: now)
    meter = trainer._Meter(Recipe(iterations=20, batch_size=2, image_size=256, grow_from=128))
    now += 7  # the warm-up counts for nothing
    assert meter.read(1) == (0.0, 0.0, None)
    now += 4  # two seconds a step of 128 px, so 8 one of 256
    assert meter.read(3) == (1.0, 0.0, pytest.approx(9 * 2 + 8 * 8))
    now += 9 * 2 + 3 * 8
    assert meter.read(15)[2] == pytest.approx(5 * 8)
    now += 5 * 8
    assert meter.read(20)[2] == 0


class KillAfter(Recorder):
    """Sends this process a signal at a step."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        super().__init__()
        self.step, self.number = step, number

    def on_step(self, event: monitor.StepEvent) -> None:
        # The step that the signal falls into is finished, so it is sent one step before.
        if event.step == self.step - 1:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(number: signal.Signals, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        train(job(tmp_path, texture_path, photo_dir), [KillAfter(3, number)])
    assert caught.value.exit_code == 128 + number
    assert checkpoint.load(tmp_path / "checkpoints" / "s.pt")["step"] == 3
    assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)


def test_same_seed_same_weights_other_seed_others(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    paths = [
        train(job(tmp_path / str(i), texture_path, photo_dir, {"iterations": 2, "seed": seed}))
        for i, seed in enumerate([5, 5, 6])
    ]
    assert_same_weights(paths[0], paths[1])
    assert not all(
        torch.equal(a, b) for a, b in zip(weights(paths[0]).values(), weights(paths[2]).values(), strict=True)
    )


def test_training_leaves_the_callers_randomness_alone(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(job(tmp_path, texture_path, photo_dir, {"iterations": 1}))
    assert torch.equal(torch.rand(3), expected)


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(
    tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    path = tmp_path / "checkpoints" / "s.pt"
    train(job(tmp_path, texture_path, photo_dir, {"iterations": 2}))
    good = path.read_bytes()
    resumed = job(tmp_path, texture_path, photo_dir, {"iterations": 9}, resume="auto")
    broken = replace(resumed, recipe=replace(resumed.recipe, learning_rate=1e38))
    with pytest.raises(NonFiniteLoss, match=r"step 4: style/relu1_1.* not a finite number; .*s.pt of an earlier step"):
        train(broken)
    assert path.read_bytes() == good


def test_loss_that_is_not_finite_once_costs_no_run(
    tmp_path: Path,
    texture_path: Path,
    photo_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    judge, faults = Objective.__call__, iter([torch.nan])

    def unlucky(self: Objective, photo: torch.Tensor | None, step: int, part: slice) -> dict[str, torch.Tensor]:
        terms = judge(self, photo, step, part)
        for fault in faults if step == 4 else ():
            terms["total"] = terms["total"] * fault
        return terms

    monkeypatch.setattr(Objective, "__call__", unlucky)
    log = monitor.JsonlLog(tmp_path / "log.jsonl")
    listener = Recorder()
    path = train(job(tmp_path, texture_path, photo_dir, {"iterations": 8}, save_every=3), [listener, log])
    log.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "step 5: the loss is not a finite number: back to step 3, at 0.5 times the learning rate (1 of 3 times)"
    )
    assert [event.step for event in listener.steps] == [1, 2, 3, 4, 4, 5, 6, 7, 8]
    assert [row["step"] for row in monitor.read_log(log.path)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert checkpoint.load(path)["training"]["slowdown"] == 0.5
    assert listener.steps[4].learning_rate == pytest.approx(listener.steps[3].learning_rate / 2)


def test_full_disk_stops_no_training_but_its_end_is_refused(
    tmp_path: Path, texture_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real refusal of the kernel: the process may not write files past a size."""
    path = train(job(tmp_path, texture_path, photo_dir, {"iterations": 2}))
    good = path.read_bytes()
    listener = Recorder()
    resumed = job(tmp_path, texture_path, photo_dir, {"iterations": 8}, resume="auto", save_every=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(good) // 2, before[1]))
    try:
        with pytest.raises(OSError, match=r"s.pt: could not be saved: File too large; .* was there is untouched"):
            train(resumed, [listener])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert listener.steps[-1].step == 8
    assert path.read_bytes() == good
    assert capsys.readouterr().err.count("training goes on") == 1


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_photos_that_stay_away_and_a_signal_meanwhile_save_and_stop(
    number: signal.Signals | None, tmp_path: Path, texture_path: Path, photo_dir: Path
) -> None:
    class Unplug(Recorder):
        def on_step(self, event: monitor.StepEvent) -> None:
            if event.step == 2:
                photo_dir.rename(photo_dir.with_name("elsewhere"))
                if number is not None:
                    threading.Timer(0.3, os.kill, [os.getpid(), number]).start()

    expected = Interrupted if number else data.PhotosAway
    prepared = job(tmp_path, texture_path, photo_dir, patience=0 if number is None else 1)
    with pytest.raises(expected):
        train(prepared, [Unplug()])
    assert checkpoint.load(prepared.path)["step"] == 2
    photo_dir.with_name("elsewhere").rename(photo_dir)
    whole = train(job(tmp_path / "whole", texture_path, photo_dir))
    assert_same_weights(whole, train(job(tmp_path, texture_path, photo_dir, resume="auto")))


def test_no_process_goes_back_alone(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    class Broken(Processes):
        """Another one's weights are not finite."""

        def any(self, here: bool) -> bool:
            return not here

    learner = Learner(job(tmp_path, texture_path, photo_dir))
    learner.processes = Broken()
    with pytest.raises(NonFiniteLoss, match="step 0: a weight is not a finite number"):
        _read({"total": torch.ones(())}, learner)


def test_a_save_that_is_promised_is_made(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    """Weights that broke while the photos were away: the last good step is saved, and then the run ends."""

    class Unplug(Recorder):
        def on_step(self, event: monitor.StepEvent) -> None:
            if event.step == 2:
                photo_dir.rename(photo_dir.with_name("elsewhere"))
                for weight in watched[0].generator.parameters():
                    weight.data.fill_(torch.nan)
                threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGTERM]).start()

    watched: list[Learner] = []
    prepared = job(tmp_path, texture_path, photo_dir, patience=1)

    class Watched(Learner):
        def __init__(self, job: Job) -> None:
            super().__init__(job)
            watched.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "Learner", Watched)
        with pytest.raises(Interrupted):
            train(prepared, [Unplug()])
    kept = checkpoint.load(prepared.path)
    assert all(weight.isfinite().all() for weight in kept["weights"].values())


def test_clock_that_jumps_changes_nothing(
    tmp_path: Path, texture_path: Path, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = train(job(tmp_path / "steady", texture_path, photo_dir))
    jumps = itertools.cycle([0.0, 4e9, -1e6])  # 1970, a century later, and before
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    listener = Recorder()
    log = monitor.JsonlLog(tmp_path / "log.jsonl")
    jumping = train(job(tmp_path / "jumping", texture_path, photo_dir), [listener, log])
    log.close()
    assert_same_weights(steady, jumping)
    assert all(0 <= event.images_per_second < 1e6 and 0 <= event.data_wait <= 1 for event in listener.steps)
    assert len(monitor.read_log(log.path)) == 4


def test_photos_that_all_break_save_and_stop(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    class Break(Recorder):
        def on_step(self, event: monitor.StepEvent) -> None:
            if event.step == 2:
                for path in photo_dir.iterdir():
                    path.write_bytes(b"no picture")

    prepared = job(tmp_path, texture_path, photo_dir)
    with pytest.raises(ValueError, match="photos could not be read"):
        train(prepared, [Break()])
    assert checkpoint.load(prepared.path)["step"] >= 2


def test_processes_go_back_to_the_same_step(
    tmp_path: Path, texture_path: Path, photo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them alone owes a save; what it does for that is not what it goes back to."""
    remembered: list[int] = []
    real_save, real_remember = keeper.Keeper.save, trainer.Rollback.remember

    def remember(self: trainer.Rollback) -> None:
        remembered.append(self._learner.steps)
        real_remember(self)

    monkeypatch.setattr(trainer.Rollback, "remember", remember)

    def failing(self: keeper.Keeper, losses: dict[str, float], required: bool = False) -> None:
        self.owed = self._learner.steps == 2
        if not self.owed:
            real_save(self, losses, required)

    monkeypatch.setattr(keeper.Keeper, "save", failing)
    prepared = job(tmp_path, texture_path, photo_dir, save_every=2)
    train(prepared)
    assert remembered == [0, 2, 4]


def test_many_broken_photos_are_counted(
    tmp_path: Path, texture_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6, 14):
        images.save_image(picture(48, 64, number), photo_dir / f"{number}.png")
    prepared = job(tmp_path, texture_path, photo_dir, {"iterations": 8})
    for path in prepared.photos[:7]:
        path.write_bytes(path.read_bytes()[:200])
    train(prepared)
    assert "7 of 11 photos could not be read; others took their places" in capsys.readouterr().err


def test_bf16_and_fp32_agree(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    totals = {}
    for precision in ("fp32", "bf16"):
        listener = Recorder()
        train(job(tmp_path / precision, texture_path, photo_dir, {"iterations": 1}, precision=precision), [listener])
        totals[precision] = listener.steps[0].losses["total"]
    assert totals["bf16"] == pytest.approx(totals["fp32"], rel=0.02)


def test_previews_are_of_photos_held_out(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    for seed in range(6, 14):
        images.save_image(picture(40, 40, seed), photo_dir / f"{seed}.png")
    prepared = job(tmp_path, texture_path, photo_dir)
    assert len(prepared.photos) == 11
    assert len(prepared.preview_photos) == 3
    assert not set(prepared.photos) & set(prepared.preview_photos)


def test_an_unreadable_preview_photo_and_preview_folder_cost_nothing(
    tmp_path: Path, texture_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = job(tmp_path, texture_path, photo_dir, {"iterations": 2}, preview_every=1)
    (prepared.run_dir).parent.mkdir(parents=True, exist_ok=True)
    prepared.run_dir.write_text("a file where the folder should be")
    prepared.preview_photos[0].unlink()
    train(prepared)
    assert "no preview: " in capsys.readouterr().err


def test_a_preview_photo_too_narrow_to_paint_costs_nothing(
    tmp_path: Path, texture_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images.save_image(picture(16, 160, 3), photo_dir / "narrow.png")
    prepared = job(tmp_path, texture_path, photo_dir, {"iterations": 2}, preview_every=1)
    path = train(replace(prepared, preview_photos=[photo_dir / "narrow.png"]))
    assert "no preview: a picture of 32x3 px is too small" in capsys.readouterr().err
    assert checkpoint.load(path)["step"] == 2


# --- what is refused, before the first step ---------------------------------------------------------------------------


def test_resume_refuses_another_recipe(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    train(job(tmp_path, texture_path, photo_dir))
    for recipe, message in [
        ({"iterations": 8, "batch_size": 3}, r"another recipe: batch_size \(2 before, 3 now\)"),
        ({"style_weights": (1.0,) * 5}, "style_weights"),
        ({}, "has all its 4 steps; ask for more with --iterations"),
    ]:
        with pytest.raises(ValueError, match=message):
            job(tmp_path, texture_path, photo_dir, recipe, resume="last")
    with pytest.raises(ValueError, match="was trained on photos"):
        job(tmp_path, texture_path, None, {"iterations": 8}, resume="auto")


def test_resume_refuses_another_texture(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    train(job(tmp_path, texture_path, photo_dir))
    images.save_image(picture(48, 48, 9), texture_path)
    with pytest.raises(ValueError, match="can't resume: 's' learned another texture"):
        job(tmp_path, texture_path, photo_dir, {"iterations": 8}, resume="auto")


def test_resume_says_when_the_photos_changed(
    tmp_path: Path, texture_path: Path, photo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = train(job(tmp_path, texture_path, photo_dir))
    (photo_dir / "5.png").unlink()
    places = Run(checkpoint_dir=tmp_path / "checkpoints", run_dir=tmp_path / "runs")
    prepare({"iterations": 8}, places, texture_path, photo_dir, (), torch.device("cpu"), path)
    assert "other photos than before (6 then, 5 now)" in capsys.readouterr().out


def test_no_checkpoint_is_overwritten(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    train(job(tmp_path, texture_path, photo_dir, {"iterations": 1}, name="checks"))
    with pytest.raises(ValueError, match=r"checks.pt exists; go on with it \(--resume\), or give another --name"):
        job(tmp_path, texture_path, photo_dir, name="checks")
    assert job(tmp_path, texture_path, photo_dir, name=None).name == "checks-2"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"style_weights": (1.0, 2.0, 3.0)}, "style_weights has 3 numbers for 5 style_layers"),
        ({"style_layers": ("relu1_1", "relu9_1")}, "unknown layer 'relu9_1' of lite; choose from conv1_1"),
        ({"content_layers": ("block9_conv1",)}, "unknown layer"),
    ],
)
def test_bad_loss(recipe: dict[str, Any], message: str, tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    with pytest.raises(ValueError, match=message):
        train(job(tmp_path, texture_path, photo_dir, recipe))
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_an_output_folder_that_cannot_be_written(tmp_path: Path, texture_path: Path, photo_dir: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"can't write to .*deeper"):
        job(tmp_path, texture_path, photo_dir, checkpoint_dir=tmp_path / "file" / "deeper")


# --- pure functions ---------------------------------------------------------------------------------------------------


def test_learning_rate_is_a_cosine_to_zero() -> None:
    recipe = Recipe(iterations=100, learning_rate=0.2)
    assert [learning_rate(recipe, step) for step in (0, 50)] == pytest.approx([0.2, 0.1])
    assert 0 < learning_rate(recipe, 99) < 1e-4


def test_a_recipe_survives_the_checkpoint() -> None:
    recipe = Recipe(perceptual_weights=Path("a/b.pth"), style_layers=("relu1_1",), style_weights=(2.0,))
    assert from_plain(Recipe, to_plain(recipe)) == recipe
    with pytest.raises(ValueError, match="unknown recipe fields colour: made by a newer version"):
        from_plain(Recipe, {"colour": 1})


def test_photos_index_is_what_is_remembered(photo_dir: Path) -> None:
    paths = data.find_photos(photo_dir).paths
    assert fingerprint(paths) == fingerprint([Path("/elsewhere") / path.name for path in paths])
    assert fingerprint(paths) != fingerprint(paths[:-1])
