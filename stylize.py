#!/usr/bin/env python3
"""Paint pictures with a trained style, or with the slow reference that needs no training.

python stylize.py --model mosaic img.jpg                                 into stylized/img-mosaic.jpg
python stylize.py --model mosaic holiday/ -o painted/ --skip_existing    a folder, its tree kept
python stylize.py --model mosaic --segments coco.json --segments_category person img.jpg
python stylize.py --grid img.jpg                                         a sheet of all styles that ship (--list)
python stylize.py --model checkpoints/peppers.pt --size 1024x768         the texture itself, of any size
torchrun --nproc_per_node=4 stylize.py --model mosaic --cuda holiday/    each file by one of four processes
python stylize.py --method gatys --texture mosaic.jpg img.jpg            Gatys' optimisation of the pixels: minutes
docs/stylize.md shows what each flag does.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texturenet import program
from texturenet.config import PRECISIONS, add_device_flags, add_flags, filled, given
from texturenet.look import Look
from texturenet.presets import PRESETS, GatysRecipe, gatys_recipe

if TYPE_CHECKING:
    from texturenet.folders import Steps

SHARED = {"seed"}  # flags of GatysRecipe that mean the same with a trained network
Paint = Callable[[Path | None, Path], str]  # (photo, result) -> what to print; raises ValueError or OSError


def _size(text: str) -> int | tuple[int, int]:
    """ "800" -> 800, the longer side; "1024x768" -> (768, 1024), height first as everywhere inside."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match or min(int(side) for side in match.groups() if side) < 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give pixels, 800 or 1024x768, 16 at least")
    return (int(match[2]), int(match[1])) if match[2] else int(match[1])


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    main = parser.add_argument_group("input")
    main.add_argument(
        "pictures",
        nargs="*",
        type=filled(Path),
        metavar="PICTURE",
        help="pictures, videos, folders, or patterns: 'a/**/*.jpg'",
    )
    style = parser.add_argument_group("style")
    style.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="a style that ships, or a file of your own; with a mask a second one is for outside of it",
    )
    style.add_argument("--list", action="store_true", help="show the styles that ship, and end")
    style.add_argument(
        "--method", choices=("net", "gatys"), default="net", help="one pass of a trained network, or the reference"
    )
    style.add_argument("--texture", type=filled(Path), metavar="FILE", help="gatys: the picture to take the look from")
    style.add_argument(
        "--preset", metavar="NAME", help=f"gatys: values of a published report, from {', '.join(PRESETS)}"
    )
    add_flags(parser, Look)
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        type=filled(Path),
        metavar="PATH",
        help="file for one picture, else a folder (default: stylized/)",
    )
    output.add_argument(
        "--name",
        type=filled(str),
        metavar="TEMPLATE",
        help="of results in a folder, from {stem}, {style}, {suffix} (default: {stem}-{style}{suffix})",
    )
    output.add_argument("--skip_existing", action="store_true", help="leave out what is already painted")
    output.add_argument(
        "--size",
        type=_size,
        metavar="PX",
        help="longer side of the result, or WIDTHxHEIGHT for a texture (default: as the picture; gatys: 512)",
    )
    output.add_argument("--quality", type=int, default=95, metavar="INT", help="of JPEG and WebP, 1-100 (default: 95)")
    machine = parser.add_argument_group("machine")
    add_device_flags(machine)
    machine.add_argument(
        "--max_memory",
        type=float,
        metavar="GB",
        help="that the program may hold; larger pictures are painted in strips (default: nine tenths of what is free)",
    )
    machine.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of a style's convolutions; auto: half where the chip is faster in it (default: auto)",
    )
    add_flags(parser, GatysRecipe)
    for group in parser._action_groups:
        if group.title in ("optimization", "start", "perceptual network", "loss"):
            group.description = "with --method gatys"
    return parser


def check(flags: argparse.Namespace) -> str | None:
    """What is wrong with the flags together, or None."""
    if not flags.pictures and (needing := [f"--{name}" for name in ("skip_existing", "name") if getattr(flags, name)]):
        return f"{needing[0]} is about pictures: name at least one"
    if flags.pictures and isinstance(flags.size, tuple):
        return f"--size {flags.size[1]}x{flags.size[0]}: a picture keeps its aspect; give its longer side alone"
    if not 1 <= flags.quality <= 100:
        return f"--quality {flags.quality}: give 1 to 100"
    if flags.max_memory is not None and not 0 < flags.max_memory * 2**30 < math.inf:
        return (
            f"--max_memory {flags.max_memory:g}: give GB, more than 0; without it nine tenths of what is free are taken"
        )
    asked = given(flags, Look)
    if flags.method == "net":
        foreign = [name for name in ("texture", "preset") if getattr(flags, name) is not None]
        foreign += [name for name in given(flags, GatysRecipe) if name not in SHARED]
        if foreign:
            return f"--{foreign[0]} is for --method gatys; a trained style brings its own"
        if not flags.model and "grid" not in asked:
            return "name a style with --model NAME; --list shows those that ship"
        try:
            Look(**asked)
        except ValueError as error:
            return str(error)
        if not flags.pictures and (needing := [name for name in asked if name != "noise_factor"]):
            return f"--{needing[0]} needs a picture: name at least one"
    else:
        foreign = [name for name in ("model", "max_memory") if getattr(flags, name) is not None]
        foreign += ["precision"] * (flags.precision != "auto") + list(asked)
        if foreign:
            return f"--{foreign[0]} is for --method net; the reference takes its look from --texture FILE"
        if flags.texture is None:
            return "--method gatys takes its look from a picture: name it with --texture FILE"
    return None


def network(flags: argparse.Namespace) -> tuple[str, Paint, Steps[Any, Any] | None]:
    """Trained styles: what results are called after, what paints them, and the same in steps."""
    from texturenet import styles

    models = [styles.find(model) for model in flags.model or ()]  # a misspelt name fails before torch loads
    from texturenet import devices, pages, processes
    from texturenet.painting import Painter

    pages.keep_heap(of_any_size=False)
    seed = given(flags, GatysRecipe).get("seed", 0)
    device = processes.own_device(devices.resolve_device(flags.device))
    memory = flags.max_memory and int(flags.max_memory * 2**30)
    painter = Painter(models, Look(**given(flags, Look)), seed, device, memory, flags.precision)
    if flags.pictures and not painter.paints_photos:
        names = ", ".join(style.name for style in painter.styles)
        raise ValueError(f"{names} makes a texture and takes no photo; give --size 1024x768 alone")
    if painter.paints_photos and not flags.pictures:
        raise ValueError(f"{painter.name} paints photos: name at least one picture")

    def paint(photo: Path | None, target: Path) -> str:
        if photo is None:
            return str(painter.texture(target, *texture_size(flags), flags.quality))
        return str(painter(photo, target, flags.size, flags.quality))

    steps = painter.steps(flags.size, flags.quality) if flags.pictures else None
    return painter.name, paint, steps


def iterative(flags: argparse.Namespace) -> tuple[str, Paint, Steps[Any, Any] | None]:
    """The iterative method: what results are called after, what paints them, and that it has no steps."""
    typed = given(flags, GatysRecipe)
    gatys_recipe(flags.preset, typed)  # a contradiction is told before torch loads
    from texturenet import devices, pages, processes
    from texturenet.reference import Reference

    pages.keep_heap()
    device = processes.own_device(devices.resolve_device(flags.device))
    print(f"device: {devices.describe(device)}")
    painter = Reference(flags.preset, typed, flags.texture, device)

    def paint(photo: Path | None, target: Path) -> str:
        size = flags.size if photo else texture_size(flags)
        return "\n".join(map(str, painter(photo, target, size, flags.quality)))

    return f"{flags.texture.stem}-gatys", paint, None  # a trained style may have the texture's name


def texture_size(flags: argparse.Namespace) -> tuple[int, int]:
    """(h, w) of a texture without a photo."""
    size = flags.size or 512
    return size if isinstance(size, tuple) else (size, size)


def main(argv: list[str] | None = None) -> int:
    cli = parser()
    flags = cli.parse_args(argv)
    if flags.list:
        from texturenet import styles

        print(styles.table())
        return 0
    if trouble := check(flags):
        cli.error(trouble)
    name, paint, steps = iterative(flags) if flags.method == "gatys" else network(flags)
    from texturenet import files, folders, processes  # torch loads in seconds, after --help and typing errors

    if not flags.pictures:
        height, width = texture_size(flags)
        target = flags.output or folders.OUTPUT_DIR
        if not folders.is_file_name(target):
            target = target / f"{name}-{width}x{height}.png"
        files.require_writable(files.nearest(target.parent))
        print(paint(None, target))
        return 0
    if (output := flags.output) and output.suffix and not output.exists() and not folders.is_file_name(output):
        print(f"{output}: no name of a picture, so a folder is made of it", file=sys.stderr)
    others = [path for path in (getattr(flags, "mask", None), flags.texture) if path is not None]
    work = folders.plan(flags.pictures, flags.output, name, flags.name, others)
    if work:  # told before the work, not after it; folders that are missing are made when there is a painting
        files.require_writable(files.nearest(work[0].target.parent))
    code = folders.paint_all(processes.own_share(work), paint, flags.skip_existing, steps)
    processes.wait_for_all()
    return code


if __name__ == "__main__":
    sys.exit(program.run("stylize.py", main))
