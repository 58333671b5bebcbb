"""Presets and times."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from texturenet import styles
from texturenet.gui import pace
from texturenet.monitor import read_log


def rows(*steps: tuple[int, float], iterations: int = 100) -> list[dict[str, object]]:
    return [
        {"event": "step", "step": step, "iterations": iterations, "images_per_second": speed, "losses": {}}
        for step, speed in steps
    ]


def test_every_preset_is_longer_than_the_one_before() -> None:
    speed = pace.Speed(256.0**2, 0)
    times = [speed.seconds(pace.flags_of(key, {}, 256)) for key in pace.PRESETS]
    trials = [len(styles.shipped()) * steps * (128 / 256) ** 2 for steps in (8, 60)]
    assert times == [120 + trials[0], 900 + trials[1], 9600 * (128 / 256) ** 2 + 6400]
    assert times == sorted(times)


def test_typed_options_win() -> None:
    flags = pace.flags_of(
        "good", {"iterations": "30", "learning_rate": "1e-3", "seed": " ", "strength_preset": "light"}, 300
    )
    assert (flags["iterations"], flags["learning_rate"], flags["strength_preset"]) == (30, 1e-3, "light")
    assert flags["style_size"] == 300
    assert "seed" not in flags
    assert flags["start_from"] == "auto"
    assert pace.flags_of("good", {"generator": "residual"}, 256)["start_from"] == "none"
    assert (flags["preview_every"], flags["log_every"]) == (3, 3)  # ten of each in a run of 30


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("iterations", "many", "iterations: invalid int value: 'many'"),
        ("batch_size", "0", "batch_size: 0 is less than 1"),
        ("image_size", "64 64", "64: one number is enough here"),
        ("generator", "unet", "generator: invalid choice: 'unet'"),
        ("image_size", "64 --seed 3", "image_size: --seed is no value"),
        ("iterations", "5 -h", "iterations: -h is no value"),
        ("seed", "-5", "seed: -5 is less than 0"),
        ("strength_preset", "much", "strength_preset: invalid choice: 'much'"),
    ],
)
def test_options_that_can_not_be(name: str, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pace.flags_of("quick", {name: text}, 256)


def test_every_option_is_explained() -> None:
    assert all(pace.option_help(name) for name in pace.OPTIONS)


def test_speed_is_the_mean_time_of_a_photo() -> None:
    assert pace.recent_speed(rows((1, 0.0), (2, 1.0), (3, 3.0))) == pytest.approx(1.5)
    assert pace.recent_speed(rows((1, 0.0))) is None
    assert pace.recent_speed(rows(*((i, 1.0) for i in range(50)), *((i, 4.0) for i in range(50, 60)))) == 4.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (2, "a moment"),
        (42, "40 s"),
        (58, "1 min"),
        (170, "3 min"),
        (3600, "1 h"),
        (4900, "1 h 20 min"),
        (50_000, "14 h"),
    ],
)
def test_in_words(seconds: float, words: str) -> None:
    assert pace.in_words(seconds) == words


def test_speed_of_a_probe() -> None:
    """Five steps of two photos at one photo a second take ten seconds; five more were spent before."""
    log = rows((1, 0.0), *((step, 1.0) for step in range(2, 6)), iterations=5)
    speed = pace.speed_of(log, {"iterations": 5, "batch_size": 2}, 15)
    assert speed == pace.Speed(256.0**2, 5)
    assert "1 photos of 256 px a second" in speed.sentence
    assert pace.speed_of(log[:3], {}, 15) is None


@pytest.mark.slow
def test_this_machine_is_measured(photo_dir: Path, texture_path: Path) -> None:
    speed = pace.Probe().measure(texture_path, str(photo_dir), read_log)
    assert speed is not None
    assert speed.pixels_per_second > 1000
    assert speed.startup > 0


def test_a_probe_that_is_cancelled_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "train.py"
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(pace, "TRAIN", script)
    probe = pace.Probe()
    threading.Timer(0.3, probe.cancel).start()
    begin = time.monotonic()
    assert probe.measure(tmp_path / "texture.png", "photos", read_log) is None
    assert time.monotonic() - begin < 30
