"""The yardstick: how good a style is, in numbers and in contact sheets.

python -m texturenet.evaluate matched checkpoints/*.pt --photos photos/ --sizes 256 512    against L-BFGS
python -m texturenet.evaluate diversity checkpoints/mosaic.pt --photos photos/             how different seeds are
python -m texturenet.evaluate sweep checkpoints/mosaic.pt --photos photos/                 over noise_factor
python -m texturenet.evaluate sweep --texture mosaic.jpg --data_dir coco/ --photos photos/   over short training runs
python -m texturenet.evaluate curve runs/mosaic --photos photos/                           while it was trained
python -m texturenet.evaluate synthesis checkpoints/textures/*.pt                          textures against L-BFGS
python -m texturenet.evaluate ablate --pairs photo.jpg:style.jpg:reference.png             the iterative method itself

Tables (Markdown, CSV) and sheets go to runs/evaluate. What takes long goes on by the same command after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from texturenet import program
from texturenet.config import MOST_NOISE, PERCEPTUAL, Recipe, add_device_flags, add_flags, at_least, filled, given
from texturenet.presets import OPTIMIZERS

OUT_DIR = Path("runs/evaluate")


@dataclass(frozen=True)
class ShortRecipe(Recipe):
    """A recipe whose defaults make a run of a minute: enough to see where a number leads."""

    iterations: int = field(default=100, metadata=Recipe.__dataclass_fields__["iterations"].metadata)
    image_size: int = field(default=128, metadata=Recipe.__dataclass_fields__["image_size"].metadata)


_size = at_least(int, 16)
_positive, _factor = at_least(int, 1), at_least(float, 0, MOST_NOISE)


def _common(command: argparse.ArgumentParser, resumable: bool = True) -> None:
    output = command.add_argument_group("output")
    output.add_argument("--out_dir", type=filled(Path), default=OUT_DIR, metavar="DIR", help=f"(default: {OUT_DIR})")
    if resumable:
        output.add_argument("--fresh", action="store_true", help="do finished work again")
    machine = command.add_argument_group("machine")
    add_device_flags(machine)


def _photos(group: Any, count: int) -> None:
    group.add_argument("--photos", type=filled(Path), required=True, metavar="DIR", help="folder of photos to judge on")
    group.add_argument(
        "--count", type=_positive, default=count, metavar="INT", help=f"how many of them (default: {count})"
    )


def _texture(group: Any) -> None:
    group.add_argument(
        "--texture", type=filled(Path), metavar="FILE", help="the texture, if the checkpoint does not hold it"
    )


def _side(group: Any, what: str) -> None:
    group.add_argument("--size", type=_size, default=256, metavar="PX", help=f"{what} (default: 256)")


def _iterations(group: Any) -> None:
    group.add_argument("--iterations", type=_positive, default=300, metavar="INT", help="of L-BFGS (default: 300)")


def _record(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--record",
        action="store_true",
        help="write the figures into the checkpoints (stylize.py --list)",
    )
    command.add_argument(
        "--for_painting",
        action="store_true",
        help="with --record: leave out of them what only resuming needs, half of a file",
    )


def parser() -> argparse.ArgumentParser:
    form: Any = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(prog="python -m texturenet.evaluate", description=__doc__, **form)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    matched = commands.add_parser("matched", help="one pass against L-BFGS, under the same loss", **form)
    main = matched.add_argument_group("input")
    main.add_argument("checkpoints", nargs="+", type=filled(Path), metavar="CKPT", help="of train.py")
    _photos(main, 20)
    _texture(main)
    work = matched.add_argument_group("work")
    work.add_argument(
        "--sizes", nargs="+", type=_size, default=[256], metavar="PX", help="longer sides of the photos (default: 256)"
    )
    _iterations(work)
    work.add_argument(
        "--noise_iterations",
        type=at_least(int, 0),
        metavar="INT",
        help="from white noise; 0: leave it out (default: as --iterations)",
    )
    work.add_argument("--seed", type=int, default=0, metavar="INT", help="of the generator's noise (default: 0)")
    work.add_argument(
        "--refine",
        type=at_least(int, 0),
        default=0,
        metavar="INT",
        help="iterations that go on from each pass, as stylize.py --refine (default: 0)",
    )
    _common(matched)
    _record(matched)

    curve = commands.add_parser("curve", help="the gap to L-BFGS that a style closes while it is trained", **form)
    main = curve.add_argument_group("input")
    main.add_argument("runs", nargs="+", type=filled(Path), metavar="RUN", help="folders RUN_DIR/NAME of train.py")
    _photos(main, 6)
    _texture(main)
    work = curve.add_argument_group("work")
    _side(work, "of the photos")
    _iterations(work)
    _common(curve)

    synthesis = commands.add_parser(
        "synthesis", help="textures of one pass against L-BFGS, under the same loss", **form
    )
    main = synthesis.add_argument_group("input")
    main.add_argument("checkpoints", nargs="+", type=filled(Path), metavar="CKPT", help="of train.py without photos")
    _texture(main)
    work = synthesis.add_argument_group("work")
    _side(work, "sides of the textures")
    _iterations(work)
    work.add_argument("--seeds", type=_positive, default=3, metavar="INT", help="how many (default: 3)")
    _common(synthesis)
    _record(synthesis)

    ablate = commands.add_parser("ablate", help="the iterative method over a grid, scored against pictures", **form)
    main = ablate.add_argument_group("input")
    main.add_argument(
        "--pairs",
        nargs="+",
        required=True,
        metavar="CONTENT:TEXTURE[:REFERENCE]",
        help="pictures of each pair, or a .csv with columns content,texture,reference",
    )
    main.add_argument(
        "--size",
        type=_size,
        default=256,
        metavar="PX",
        help="longer side of the results, as of references (default: 256)",
    )
    axes = ablate.add_argument_group("grid")
    networks = [name for name in PERCEPTUAL if name != "auto"]

    def choice(flag: str, choices: list[str], default: list[str], what: str) -> None:
        help = f"{what} (default: {' '.join(default)})"
        axes.add_argument(flag, nargs="+", choices=choices, default=default, help=help)

    choice("--extractors", networks, ["vgg16", "vgg19", "resnet18"], "perceptual networks")
    choice("--optimizers", list(OPTIMIZERS), list(OPTIMIZERS), "of the pixels")
    choice("--inits", ["content", "texture", "noise", "blend"], ["content", "noise"], "what a descent starts from")
    axes.add_argument(
        "--iterations",
        nargs="+",
        type=_positive,
        default=[1000, 1500, 2000],
        metavar="INT",
        help="(default: 1000 1500 2000; one descent serves all)",
    )
    axes.add_argument(
        "--losses",
        nargs="+",
        default=["1:1e6:0", "1:1e6:1"],
        metavar="CONTENT:STYLE:TV",
        help="sets of weights (default: 1:1e6:0 1:1e6:1)",
    )
    _common(ablate)

    sweep = commands.add_parser(
        "sweep",
        help="contact sheets over noise_factor and style/content ratio",
        description="With a checkpoint: over noise_factor. With --texture and --data_dir: short runs over both.",
        **form,
    )
    main = sweep.add_argument_group("input")
    main.add_argument("checkpoint", nargs="?", type=filled(Path), metavar="CKPT", help="a trained style")
    _photos(main, 4)
    _texture(main)
    main.add_argument("--data_dir", type=filled(Path), metavar="DIR", help="without a checkpoint: photos to train on")
    work = sweep.add_argument_group("work")
    work.add_argument(
        "--noise_factors",
        nargs="+",
        type=_factor,
        metavar="FLOAT",
        help="(default: 0 0.5 1 2 4 of a checkpoint; 0 1 2 in training)",
    )
    work.add_argument(
        "--ratios",
        nargs="+",
        type=_factor,
        metavar="FLOAT",
        help="style against content, as multiples of the recipe's (default: 0.5 1 2)",
    )
    _side(work, "of the photos judged")
    _common(sweep)
    add_flags(sweep, ShortRecipe)

    diversity = commands.add_parser("diversity", help="how different the pictures of different seeds are", **form)
    main = diversity.add_argument_group("input")
    main.add_argument("checkpoints", nargs="+", type=filled(Path), metavar="CKPT", help="of train.py")
    _photos(main, 6)
    _texture(main)
    work = diversity.add_argument_group("work")
    work.add_argument("--seeds", type=_positive, default=4, metavar="INT", help="how many (default: 4)")
    _side(work, "of the photos")
    work.add_argument(
        "--noise_factor", type=_factor, metavar="FLOAT", help="strength of the noise (default: as trained)"
    )
    _common(diversity, resumable=False)
    return parser


def _run(flags: argparse.Namespace) -> None:
    from texturenet import devices, files, pages, styles  # torch loads in seconds, after --help and typing errors

    if getattr(flags, "for_painting", False) and not flags.record:
        raise ValueError("--for_painting is of the checkpoints that --record writes; add that")
    if getattr(flags, "checkpoints", None):
        flags.checkpoints = [styles.find(path) for path in flags.checkpoints]
    if getattr(flags, "checkpoint", None):
        flags.checkpoint = styles.find(flags.checkpoint)
    files.require_writable(flags.out_dir)
    pages.keep_heap()
    device = devices.resolve_device(flags.device)
    if flags.command == "matched":
        from texturenet import matched

        matched.run(
            flags.checkpoints,
            flags.photos,
            flags.out_dir,
            device,
            texture_path=flags.texture,
            count=flags.count,
            sizes=flags.sizes,
            iterations=flags.iterations,
            noise_iterations=flags.noise_iterations,
            seed=flags.seed,
            fresh=flags.fresh,
            record=flags.record,
            resumable=not flags.for_painting,
            refine=flags.refine,
        )
    elif flags.command == "curve":
        from texturenet import learning

        learning.run(
            flags.runs,
            flags.photos,
            flags.out_dir,
            device,
            texture_path=flags.texture,
            count=flags.count,
            size=flags.size,
            iterations=flags.iterations,
            fresh=flags.fresh,
        )
    elif flags.command == "synthesis":
        from texturenet import synthesis

        synthesis.run(
            flags.checkpoints,
            flags.out_dir,
            device,
            texture_path=flags.texture,
            size=flags.size,
            iterations=flags.iterations,
            seeds=flags.seeds,
            fresh=flags.fresh,
            record=flags.record,
            resumable=not flags.for_painting,
        )
    elif flags.command == "ablate":
        from texturenet import ablation, grid

        varied = grid.Grid(
            flags.extractors,
            flags.optimizers,
            flags.iterations,
            flags.inits,
            [grid.read_weights(text) for text in flags.losses],
        )
        ablation.run(grid.read_pairs(flags.pairs), varied, flags.out_dir, device, flags.size, flags.fresh)
    elif flags.command == "diversity":
        from texturenet import sweeps

        sweeps.seed_sweep(
            flags.checkpoints,
            flags.photos,
            flags.out_dir,
            device,
            texture_path=flags.texture,
            count=flags.count,
            size=flags.size,
            seeds=flags.seeds,
            noise_factor=flags.noise_factor,
        )
    else:
        _sweep(flags, device)


def _sweep(flags: argparse.Namespace, device: Any) -> None:
    from texturenet import recovery, sweeps

    if flags.checkpoint is not None:
        if flags.data_dir is not None:
            raise ValueError("--data_dir trains new networks; leave the checkpoint out, or --data_dir")
        typed = given(flags, ShortRecipe)
        seed = typed.pop("seed", 0)
        if flags.ratios:
            typed["ratios"] = flags.ratios
        if typed:
            raise ValueError(f"--{next(iter(typed))} is for training runs; leave it out, or the checkpoint")
        sweeps.noise_sweep(
            flags.checkpoint,
            flags.photos,
            flags.out_dir,
            device,
            flags.noise_factors or [0.0, 0.5, 1.0, 2.0, 4.0],
            texture_path=flags.texture,
            count=flags.count,
            size=flags.size,
            seed=seed,
        )
        return
    if flags.texture is None or flags.data_dir is None:
        raise ValueError("name a checkpoint, or --texture and --data_dir for short training runs")
    typed = given(flags, ShortRecipe)
    if "noise_factor" in typed:
        raise ValueError("--noise_factor: a network is trained for each of --noise_factors; give that one")
    short = ShortRecipe(**typed)
    try:
        sweeps.training_sweep(
            {"iterations": short.iterations, "image_size": short.image_size} | typed,
            flags.texture,
            flags.data_dir,
            flags.photos,
            flags.out_dir,
            device,
            flags.noise_factors or [0.0, 1.0, 2.0],
            flags.ratios or [0.5, 1.0, 2.0],
            flags.count,
            flags.size,
            flags.fresh,
        )
    except recovery.Interrupted:  # it has saved what it had
        raise KeyboardInterrupt from None


def main(argv: list[str] | None = None) -> int:
    flags = parser().parse_args(argv)
    whole = flags.command == "diversity" or (flags.command == "sweep" and flags.checkpoint is not None)
    without = " without --fresh" if getattr(flags, "fresh", False) else ""
    kept = f"what is finished is kept, the same command{without} goes on"
    if whole:
        kept = "there is no table before all is done"
    return program.run("evaluate", partial(_run, flags), f"\nstopped; {kept}")


if __name__ == "__main__":
    sys.exit(main())
