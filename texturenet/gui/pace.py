"""How long a training takes: presets, and a speed that was measured here."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from texturenet import auditions, crops, styles
from texturenet.config import Recipe, add_flags, given
from texturenet.gui.training import TRAIN, Order
from texturenet.presets import TRAIN_PRESETS

PROBE_STEPS = 5
TELLING_SIZE = 192  # px; smaller crops spend too much of their time on other things than pixels
RECENT = 10  # rows of the log that the present speed is told from
DEFAULTS: dict[str, Any] = {spec.name: spec.default for spec in fields(Recipe)}


@dataclass(frozen=True)
class Preset:
    """`flags` of train.py that make up an intention."""

    title: str
    promise: str
    flags: dict[str, Any]


PRESETS = {
    "quick": Preset(
        "Quick look",
        "A first sketch: does this texture suit photos?",
        TRAIN_PRESETS["laptop"] | {"iterations": 120, "preview_every": 20, "save_every": 30, "log_every": 5},
    ),
    "good": Preset(
        "Good",
        "A style to keep, in a fraction of the time.",
        TRAIN_PRESETS["laptop"] | {"preview_every": 50, "save_every": 100, "log_every": 10},
    ),
    "best": Preset(
        "Best",
        "As most of the styles that ship were made.",
        TRAIN_PRESETS["best"] | {"preview_every": 100, "save_every": 100, "log_every": 10},
    ),
}

# What the folded options offer; everything else is train.py's.
OPTIONS = ("iterations", "batch_size", "image_size", "learning_rate", "strength_preset", "seed", "generator")


def option_help(name: str) -> str:
    """What an option means, as `train.py --help` says it."""
    spec = next(spec for spec in fields(Recipe) if spec.name == name)
    return str(spec.metadata["help"])


def flags_of(preset: str, typed: dict[str, str], style_size: int) -> dict[str, Any]:
    """A preset's flags with the typed options in place of its own; empty ones are the preset's.

    Raises ValueError that names an option that can't be read, or is too small.
    """
    flags: dict[str, Any] = PRESETS[preset].flags | {"style_size": style_size}
    parser = argparse.ArgumentParser(
        exit_on_error=False, argument_default=argparse.SUPPRESS, add_help=False, allow_abbrev=False
    )
    add_flags(parser, Recipe)
    words: list[str] = []
    for name, text in typed.items():
        # A flag in a field would be another option's, and argparse ends the program for some of them.
        if flag := next((word for word in text.split() if re.match(r"--?\D", word)), None):
            raise ValueError(f"{name}: {flag} is no value")
        words += [f"--{name}", *text.split()] if text.strip() else []
    try:
        options, beyond = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(f"{(error.argument_name or '').lstrip('-')}: {error.message}") from None
    if beyond:
        raise ValueError(f"{' '.join(beyond)}: one number is enough here")
    flags |= given(options, Recipe)
    if flags.get("generator", DEFAULTS["generator"]) != DEFAULTS["generator"]:
        flags["start_from"] = "none"  # no style of another network ships
    iterations = flags["iterations"]
    for every in ("preview_every", "save_every", "log_every"):  # a short run has something to show, too
        flags[every] = max(1, min(flags[every], iterations // 10))
    return flags


def recipe_of(flags: dict[str, Any]) -> Recipe:
    """The recipe that train.py makes of flags, some of which are about the run alone."""
    return Recipe(**{name: value for name, value in flags.items() if name in DEFAULTS})


@dataclass(frozen=True)
class Speed:
    """What this machine does: pixels of photos a second, and seconds before the first step."""

    pixels_per_second: float
    startup: float

    def seconds(self, flags: dict[str, Any]) -> float:
        """The time that a whole training takes."""
        recipe = recipe_of(flags)
        pixels = recipe.batch_size * crops.pixels(recipe, 0, recipe.iterations)
        if recipe.start_from == "auto":
            side = min(auditions.SIDE, recipe.image_size)
            pixels += len(styles.shipped()) * auditions.steps_of(recipe.iterations) * side**2
        return float(self.startup + pixels / self.pixels_per_second)

    @property
    def sentence(self) -> str:
        return f"Measured on this machine: {self.pixels_per_second / 256**2:.2g} photos of 256 px a second."


class Probe:
    """A few steps of a training, thrown away, that tell how fast this machine is."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def measure(self, texture: Path, data_dir: str, read: Callable[[Path], Sequence[dict[str, Any]]]) -> Speed | None:
        """The speed; None where it was cancelled, or can't be told: the training itself will say why.

        read  `monitor.read_log`
        """
        with tempfile.TemporaryDirectory() as folder:
            flags = {"perceptual": "lite", "iterations": PROBE_STEPS, "batch_size": 2, "log_every": 1, "workers": 0}
            flags |= {"preview_every": 0, "run_dir": folder, "checkpoint_dir": folder}
            words = Order("probe", str(texture), data_dir, flags).words()
            begin = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, str(TRAIN), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._process.wait()
            elapsed = time.monotonic() - begin
            return speed_of(list(read(Path(folder) / "probe" / "log.jsonl")), flags, elapsed)

    def cancel(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


def speed_of(rows: Sequence[dict[str, Any]], flags: dict[str, Any], elapsed: float) -> Speed | None:
    """From the log of a few steps that took `elapsed` seconds with everything around them."""
    photos = recent_speed(rows)
    if photos is None or len(rows) < PROBE_STEPS:
        return None
    recipe = recipe_of(flags)
    stepping = recipe.iterations * recipe.batch_size / photos
    return Speed(photos * recipe.image_size**2, max(0.0, elapsed - stepping))


def crop_side(flags: dict[str, Any], rows: Sequence[dict[str, Any]]) -> int:
    """Of the crops, px, at the last step in a log that has one."""
    step = next(row["step"] for row in reversed(rows) if row.get("event") == "step")
    return crops.side(recipe_of(flags), step)


def recent_speed(rows: Sequence[dict[str, Any]]) -> float | None:
    """Photos a second over the last rows; None before it is known."""
    speeds = [row["images_per_second"] for row in rows if row.get("event") == "step" and row.get("images_per_second")]
    speeds = speeds[-RECENT:]
    return len(speeds) / sum(1 / speed for speed in speeds) if speeds else None


def in_words(seconds: float) -> str:
    """ "40 s", "3 min", "1 h 20 min": no more digits than are true."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s" if seconds >= 5 else "a moment"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    if minutes >= 600:
        return f"{round(minutes / 60)} h"
    hours, rest = divmod(5 * round(minutes / 5), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
