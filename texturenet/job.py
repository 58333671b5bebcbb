"""What a training run is made of: every input checked, every choice made, before the first step.

A run that would fail fails here, in its first seconds; what `prepare` returns can be trained.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texturenet import checkpoint, crops, data, images, styles
from texturenet.config import MOST_JITTER, MOST_NOISE, Recipe, Run, from_plain, to_plain
from texturenet.devices import resolve_precision
from texturenet.files import is_plain_name, require_writable, sha256
from texturenet.perceptual import Encoder, load_encoder
from texturenet.presets import on_lite
from texturenet.processes import ALONE, Processes

PREVIEW_PHOTOS = 3
# Weights fit no other value of these.
SHAPES = ("generator", "scales", "width", "noise_channels", "noise_scales", "normalization")
OF_PHOTOS = ("content_layers", "content_weights", "content_norm", "content_colors", "strength_preset", "color_jitter")
FREE = ("slope", "upsampling")  # weights fit any value of these, and get used to it


@dataclass(frozen=True)
class Job:
    """What to train, resolved: every choice made, nothing opened for writing yet."""

    recipe: Recipe
    run: Run
    name: str
    texture: Tensor  # (1, 3, H, W)
    photos: Sequence[Path]  # empty: a texture alone
    preview_photos: Sequence[Path]
    encoder: Encoder
    device: torch.device
    resumed: dict[str, Any] | None  # fields of the checkpoint to go on from
    changes: list[dict[str, Any]]  # of the recipe on the way, see checkpoint.py
    processes: Processes
    start_weights: dict[str, Tensor] | None = None  # of another style, for a new run to begin with; see auditions.py
    started_from: dict[str, Any] | None = None  # see checkpoint.py

    @property
    def path(self) -> Path:
        return self.run.checkpoint_dir / f"{self.name}.pt"

    @property
    def run_dir(self) -> Path:
        return self.run.run_dir / self.name

    @property
    def start_step(self) -> int:
        return self.resumed["step"] if self.resumed else 0

    @property
    def identity(self) -> str:
        """What processes have to agree on: gradients of other photos or of another loss would be averaged unseen."""
        texture = hashlib.sha256(texture_pixels(self.texture).numpy().tobytes()).hexdigest()
        precision = resolve_precision(self.run.precision, self.device)
        weights = self.resumed["weights"] if self.resumed else self.start_weights or {}
        began = hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in weights.values())).hexdigest()
        return f"{self.recipe} {fingerprint(self.photos)} {texture} {self.start_step} {precision} {began}"


def prepare(
    recipe_given: dict[str, Any],
    run: Run,
    texture_path: Path,
    data_dir: Path | None,
    categories: Sequence[str],
    device: torch.device,
    resume: Path | str | None = None,
    say: Callable[[str], None] = print,
    with_changes: bool = False,
    processes: Processes = ALONE,
) -> Job:
    """Check every input before the first step, so that a run fails in its first seconds or not at all.

    recipe_given  the Recipe's fields that the user asked for; a resumed run takes the others from its checkpoint
    resume        a checkpoint; "last": that of the run's name; "auto": that one if it is there; or None
    say           receives one line for each choice that was made for the user
    with_changes  whether a resumed run may have another recipe
    processes     that train together; a run that torchrun starts again goes on from its checkpoint by itself
    Raises ValueError or OSError, one line.
    """
    texture_name = run.name or texture_path.stem
    if not is_plain_name(texture_name):
        raise ValueError(
            f"a style can't be called {texture_name!r}: give a --name without folders, 100 letters at most"
        )
    if categories and data_dir is None:
        raise ValueError(
            f"categories ({', '.join(categories)}) choose among photos, and there are none; add --data_dir"
        )
    if resume in ("last", "auto") or processes.restarts is not None:
        texture_name = _told_name(texture_name, run, say)
    resumed_from, resumed = _resumed(resume, run, texture_name, processes, say)
    for folder in (run.checkpoint_dir, run.run_dir):
        require_writable(folder)
    before = Recipe()
    if resumed:
        before = replace(from_plain(Recipe, resumed["recipe"]), **_free(resumed))
        # perceptual and start_from: whatever they were
        recipe_given = {name: value for name, value in recipe_given.items() if value != "auto"}
    if recipe_given.get("start_from") == "none":
        recipe_given = recipe_given | {"start_from": None}
    named = recipe_given.get("start_from")
    start = None if resumed or named in (None, "auto") else beginning(named, recipe_given, data_dir is not None)
    if start:
        recipe_given = recipe_given | start["shape"]
    recipe = replace(before, **recipe_given)
    _require_usable(recipe, data_dir is not None)
    processes.share(recipe.batch_size)
    texture = images.load_image(texture_path, recipe.style_size)
    if (frames := images.frame_count(texture_path)) > 1:
        say(f"{texture_path}: the first of its {frames} frames is learned")
    if data_dir is None:
        say("no --data_dir: learning the texture alone, from noise and without a content term")
        paths: list[Path] = []
    else:
        index = data.find_photos(data_dir, categories)
        paths = list(index.paths)
        for line in data.summary(index):
            say(line)
    held_out = paths[-PREVIEW_PHOTOS:] if len(paths) > 4 * PREVIEW_PHOTOS else []
    photos = paths[: len(paths) - len(held_out)]

    encoder = load_encoder(recipe.perceptual, recipe.perceptual_weights, recipe.perceptual_preprocess, recipe.pooling)
    say(f"perceptual network: {encoder.source}")
    if encoder.name == "lite" and paths and not resumed:  # without photos the papers' terms do as well
        recipe = replace(recipe, **on_lite(None, recipe_given, recipe, say))
    recipe = replace(
        recipe,
        perceptual=encoder.name,
        width=recipe.width or {"pyramid": 8, "residual": 32}[recipe.generator],
        padding=recipe.padding or ("reflect" if paths else "circular"),
        # Without a photo each scale has to have noise; `Residual` has it at full size.
        noise_scales=recipe.noise_scales if paths and recipe.generator == "pyramid" else None,
        style_layers=tuple(encoder.resolve(recipe.style_layers or encoder.style_layers)),
        content_layers=tuple(encoder.resolve(recipe.content_layers or encoder.content_layers)),
    )
    if recipe.grow_from and recipe.grow_from > recipe.image_size:
        say(f"grow_from {recipe.grow_from} left out: all crops have {recipe.image_size} px")
    if recipe_given.get("noise_scales") and recipe.noise_scales is None:
        say(f"noise_scales {recipe_given['noise_scales']} left out: it is of pyramids that are given photos")
    if not paths and (about := [name for name in OF_PHOTOS if recipe_given.get(name)]):
        say(f"{', '.join(about)} left out: a texture alone has no photos")
    changes: list[dict[str, Any]] = []
    if resumed:
        changes = [*resumed.get("changes", []), *_changed(before, recipe, resumed["step"], with_changes, say)]
        if resumed["step"] >= recipe.iterations:
            line = f"{run.checkpoint_dir / resumed['name']}.pt has all its {resumed['step']} steps"
            if resumed["step"] > recipe.iterations:
                line = f"{run.checkpoint_dir / resumed['name']}.pt has {resumed['step']} steps already"
            if resume != "auto" and not processes.restarts:
                raise ValueError(f"{line}; ask for more with --iterations")
            say(line)
        side_before, side = (crops.side(each, resumed["step"]) for each in (before, recipe))
        if side != side_before:
            say(f"crops have {side} px, {side_before} before: grow_from is for three fifths of all steps")
        if len(changes) > len(resumed.get("changes", [])) or side != side_before:  # losses are of another scale
            resumed["training"] |= {"smoothed": None, "least": math.inf}
        _same_texture(resumed, images.load_image(texture_path, before.style_size))
        _same_photos(resumed, photos, say)
        name = run.name or resumed["name"]
        if not _is_of_run(resumed_from, resumed, name, run):
            name = _own_name(name, run)
    elif processes.restarts is not None or resume == "auto":
        name = _own_name(texture_name, run)  # a run that is started again has to find its checkpoint
    else:
        name = _free_name(texture_name, run, say)
    if recipe.normalization == "batch" and (processes.size > 1 or run.auto_batch):
        say("batch norm sees the photos of its own process or part alone: not the steps that one of each would take")
    preview_photos = held_out or photos[:PREVIEW_PHOTOS]
    started_from: dict[str, Any] | None = (start or resumed or {}).get("started_from")
    if start and started_from:
        say(f"begun with the weights of {started_from['name']} after {started_from['step']:,} steps")
        say_what_differs(start, recipe, say)
    return Job(
        recipe,
        run,
        name,
        texture,
        photos,
        preview_photos,
        encoder,
        device,
        resumed,
        changes,
        processes,
        start and start["weights"],
        started_from,
    )


def _resumed(
    resume: Path | str | None, run: Run, name: str, processes: Processes, say: Callable[[str], None]
) -> tuple[Path, dict[str, Any] | None]:
    """The checkpoint to go on from, and its fields, or None."""
    path = run.checkpoint_dir / f"{name}.pt"
    if resume not in (None, "auto", "last"):
        path = Path(str(resume))
        own = run.checkpoint_dir / f"{run.name or checkpoint.load(path)['name']}.pt"
        path = own if processes.restarts and own.exists() else path
    if processes.restarts and path.exists():
        say(f"started again by torchrun ({processes.restarts}): going on from {path}")
    elif resume == "auto" and not path.exists():
        say(f"no checkpoint at {path} yet: a new run")
        return path, None
    elif resume is None:
        return path, None
    found = checkpoint.load(path)
    if "training" not in found:
        raise ValueError(f"{path} was made for stylizing alone and can't be resumed")
    return path, found


def _require_usable(recipe: Recipe, with_photos: bool) -> None:
    """Raises ValueError for what no checkpoint may have, and for contradictions, before a run is spent on them."""
    shape = {name: getattr(recipe, name) for name in SHAPES if name in checkpoint.RANGES}
    trouble = checkpoint.out_of_range(shape | {"slope": recipe.slope})
    if trouble is None and not recipe.noise_factor < MOST_NOISE:
        trouble = f"noise_factor is not below {MOST_NOISE:g}"
    if trouble is None and not recipe.learning_rate > 0:
        trouble = f"learning_rate {recipe.learning_rate:g}: give a step size above 0"
    if trouble is None and recipe.noise_range and not recipe.noise_factor:
        trouble = "noise_factor 0 with a noise_range: style weights follow their ratio; give a factor above 0"
    if trouble is None and not recipe.color_jitter <= MOST_JITTER:
        trouble = f"color_jitter {recipe.color_jitter:g}: crops are black or white; give {MOST_JITTER:g} at most"
    if trouble is None and recipe.diversity_weight and recipe.batch_size % 2:
        trouble = (
            f"diversity_weight compares two pictures of each photo, and a batch_size of {recipe.batch_size} is odd; "
            f"give {recipe.batch_size + 1}"
        )
    if trouble is None and recipe.stability_weight and not with_photos:
        trouble = "stability_weight is about the frames of a clip; a texture alone has none"
    if trouble is not None:
        raise ValueError(f"--{trouble}")


def beginning(style: Path | str, recipe_given: dict[str, Any], with_photos: bool) -> dict[str, Any]:
    """The "weights" that a new run begins with, the recipe's "shape" that they fit, and checkpoint.py's "started_from".

    With "free", the values of `FREE` that they were trained with.

    style         a checkpoint, or the name of one that ships
    recipe_given  the fields of the shape that were asked for; None for one that was not
    Raises ValueError where the run could not begin with them.
    """
    path = styles.find(style)
    found = checkpoint.load(path)
    checkpoint.build_generator(found)  # whose weights fit it
    options = dict(found["generator"]["options"])
    if options.pop("content", True) != with_photos:
        kind = "photos" if with_photos else "a texture alone"
        raise ValueError(
            f"can't start from {path}: it was not trained on {kind}, as this run will be; give --start_from none"
        )
    shape = {"generator": found["generator"]["name"], **options}
    for any_fits in ("padding", *FREE):
        shape.pop(any_fits, None)
    noise_scales = shape.pop("noise_scales", None)
    if set(shape) != set(SHAPES) - {"noise_scales"} - ({"scales"} if shape["generator"] == "residual" else set()):
        raise ValueError(f"can't start from {path}: its network is none that train.py trains")
    for name, value in shape.items():
        if recipe_given.get(name, value) not in (None, value):
            raise ValueError(f"can't start from {path}: its {name} is {value}; leave --{name} out")
    return {
        "shape": shape | {"noise_scales": recipe_given.get("noise_scales") or noise_scales},  # see `begin_with`
        "free": _free(found),
        "weights": found["weights"],
        "started_from": {"name": found["name"], "step": found["step"], "sha256": sha256(path)},
    }


def _free(found: dict[str, Any]) -> dict[str, Any]:
    """The values of `FREE` that a checkpoint's weights were trained with: its generator's, whose residual networks of
    before enlarged by nearest values, whatever their recipe said.
    """
    told = found["generator"]["options"]
    then = from_plain(Recipe, {name: told[name] for name in FREE if name in told})
    return {name: getattr(then, name) for name in FREE}


def say_what_differs(start: dict[str, Any], recipe: Recipe, say: Callable[[str], None]) -> None:
    """A line for each of `FREE` that the weights of `beginning` were trained with another value of."""
    for field, then in start["free"].items():
        if (now := getattr(recipe, field)) != then:
            say(f"their {field} was {then}, and is {now} from here on")


def _changed(before: Recipe, now: Recipe, step: int, allowed: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The entry of a checkpoint's `changes` for a recipe that differs, if it does. ValueError if it may not."""
    old, new = to_plain(before), to_plain(now)
    names = [spec.name for spec in fields(Recipe) if spec.name != "iterations" and old[spec.name] != new[spec.name]]
    if not names:
        return []
    listed = ", ".join(f"{name} ({old[name]} before, {new[name]} now)" for name in names)
    if fixed := [name for name in names if name in (*SHAPES, "optimizer")]:
        raise ValueError(
            f"can't resume with another recipe: {listed}; what was saved fits no other {', '.join(fixed)}: start a new "
            "run"
        )
    if not allowed:
        raise ValueError(
            f"can't resume with another recipe: {listed}; leave these flags out, start a new run, or have the rest of "
            "this one changed (--resume_with_changes)"
        )
    say(f"from step {step} on with another recipe: {listed}")
    return [{"step": step, "fields": {name: [old[name], new[name]] for name in names}}]


def fingerprint(photos: Sequence[Path]) -> dict[str, Any]:
    """What a checkpoint remembers of its photos: how many, and a hash of their paths below their common folder."""
    root = os.path.commonpath([path.parent for path in photos]) if photos else ""
    names = "\n".join(path.relative_to(root).as_posix() for path in photos)
    return {"count": len(photos), "fingerprint": hashlib.sha256(os.fsencode(names)).hexdigest()[:16]}


def texture_pixels(texture: Tensor) -> Tensor:
    """The texture as a checkpoint keeps it: (1, 3, H, W) in [0, 1] -> uint8 (3, H, W)."""
    return texture[0].mul(255).round().to(torch.uint8)


def _same_texture(resumed: dict[str, Any], texture: Tensor) -> None:
    """`texture` as the run's loss saw it."""
    if not torch.equal(resumed["texture"], texture_pixels(texture)):
        raise ValueError(f"can't resume: {resumed['name']!r} learned another texture; name that one with --texture")


def _same_photos(resumed: dict[str, Any], photos: Sequence[Path], say: Callable[[str], None]) -> None:
    before, now = resumed["photos"], fingerprint(photos)
    if (before["count"] == 0) != (now["count"] == 0):
        then = "a texture alone" if before["count"] == 0 else "photos (--data_dir)"
        raise ValueError(f"can't resume: {resumed['name']!r} was trained on {then}")
    if before != now:
        say(f"other photos than before ({before['count']} then, {now['count']} now): not exactly the same run any more")


def _names(name: str) -> Iterator[str]:
    """What runs of one texture are called, one after the other."""
    return itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))


def _told_name(name: str, run: Run, say: Callable[[str], None]) -> str:
    """The name that a run is found by again: the texture's, unless a style that can't be resumed has that one.

    So `--texture mosaic.jpg --resume` goes on with the user's own mosaic-2, and not with the mosaic that ships.
    """
    if run.name is not None:
        return name
    told = next(each for each in _names(name) if not paints_alone(run.checkpoint_dir / f"{each}.pt"))
    if told != name:
        say(f"{run.checkpoint_dir / name}.pt was made for stylizing alone: the run is called {told}")
    return told


def paints_alone(path: Path) -> bool:
    """Whether there is a style that was made for stylizing alone, as those that ship, and no run's that goes on."""
    return path.exists() and "training" not in checkpoint.load(path)


def _left_by(name: str, run: Run) -> Path | None:
    """What there is of an earlier run of that name: its checkpoint, or, where that is gone, those that it kept."""
    path, kept = run.checkpoint_dir / f"{name}.pt", run.run_dir / name / "checkpoints"
    latest = max(kept.glob("*.pt"), key=lambda each: each.stem if each.stem.isdecimal() else "", default=None)
    return path if path.exists() else latest


def _is_of_run(path: Path, fields: dict[str, Any], name: str, run: Run) -> bool:
    """Whether a checkpoint is one of the run of that name here, or a copy of one: it may go on in its place."""
    own, kept = run.checkpoint_dir / f"{name}.pt", run.run_dir / name / "checkpoints"
    if path.resolve() == own.resolve() or path.resolve().parent == kept.resolve():
        return True
    if not own.exists():
        return False
    there = checkpoint.load(own)
    recipes = [found["recipe"] | {"iterations": 0} for found in (there, fields)]
    return recipes[0] == recipes[1] and torch.equal(there["texture"], fields["texture"])


def _own_name(name: str, run: Run) -> str:
    """The name itself, for a run that has to have this one. Raises ValueError where it would overwrite another run."""
    left = _left_by(name, run)
    if left is None:
        return name
    go_on = "--resume" if left.parent == run.checkpoint_dir else f"--resume {left}"
    raise ValueError(f"{left} exists; go on with it ({go_on}), or give another --name")


def _free_name(name: str, run: Run, say: Callable[[str], None]) -> str:
    """The name itself if the user chose it, else the first that overwrites nothing of an earlier run."""
    taken = _left_by(name, run)
    if run.name is not None or taken is None:
        return _own_name(name, run)
    free = next(each for each in _names(name) if _left_by(each, run) is None)
    say(f"{taken} exists and is kept: this run is called {free} (--resume goes on with an earlier one)")
    return free
