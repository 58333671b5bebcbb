#!/usr/bin/env python3
"""Paint pictures with a trained style, or with the slow reference that needs no training.

python stylize.py --model checkpoints/mosaic.pt img.jpg                  into stylized/img-mosaic.jpg
python stylize.py --model checkpoints/mosaic.pt holiday/ -o painted/     a folder, its tree kept
python stylize.py --model checkpoints/peppers.pt --size 1024x768         the texture itself, of any size
python stylize.py --method gatys --texture mosaic.jpg img.jpg            Gatys' optimisation of the pixels: minutes
python stylize.py --method gatys --preset gatys2016 --texture mosaic.jpg --size 512x512
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from texturenet.config import add_flags, given
from texturenet.presets import PRESETS, GatysRecipe, gatys_recipe

SHARED = {"seed"}  # flags of GatysRecipe that mean the same with a trained network
Painter = Callable[[Path | None, Path], str]  # (photo, result) -> what to print; raises ValueError or OSError


def _size(text: str) -> int | tuple[int, int]:
    """ "800" -> 800, the longer side; "1024x768" -> (768, 1024), height first as everywhere inside."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match or min(int(side) for side in match.groups() if side) < 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give pixels, 800 or 1024x768, 16 at least")
    return (int(match[2]), int(match[1])) if match[2] else int(match[1])


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    main = parser.add_argument_group("input")
    main.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="files or folders")
    main.add_argument("--model", type=Path, metavar="FILE", help="a checkpoint of train.py")
    main.add_argument(
        "--method", choices=("net", "gatys"), default="net", help="one pass of a trained network, or the reference"
    )
    main.add_argument("--texture", type=Path, metavar="FILE", help="gatys: the picture to take the look from")
    main.add_argument(
        "--preset", metavar="NAME", help=f"gatys: values of a published report, from {', '.join(PRESETS)}"
    )
    look = parser.add_argument_group("look")
    look.add_argument(
        "--size",
        type=_size,
        metavar="PX",
        help="longer side of the result, or WIDTHxHEIGHT for a texture (default: as the picture; gatys: 512)",
    )
    look.add_argument("--noise_factor", type=float, metavar="FLOAT", help="strength of the noise (default: as trained)")
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help="file for one picture, else a folder (default: stylized/)"
    )
    output.add_argument("--quality", type=int, default=95, metavar="INT", help="of JPEG and WebP, 1-100 (default: 95)")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda[:N] or mps (default: auto)")
    machine.add_argument("--cuda", dest="device", action="store_const", const="cuda", help="short for --device cuda")
    machine.add_argument("--cpu", dest="device", action="store_const", const="cpu", help="short for --device cpu")
    add_flags(parser, GatysRecipe)
    for group in parser._action_groups:
        if group.title in ("optimization", "start", "perceptual network", "loss"):
            group.description = "with --method gatys"
    return parser


def check(flags: argparse.Namespace) -> str | None:
    """What is wrong with the flags together, or None."""
    if flags.pictures and isinstance(flags.size, tuple):
        return f"--size {flags.size[1]}x{flags.size[0]}: a picture keeps its aspect; give its longer side alone"
    if not 1 <= flags.quality <= 100:
        return f"--quality {flags.quality}: give 1 to 100"
    if flags.method == "net":
        foreign = [name for name in ("texture", "preset") if getattr(flags, name) is not None]
        foreign += [name for name in given(flags, GatysRecipe) if name not in SHARED]
        if foreign:
            return f"--{foreign[0]} is for --method gatys; a trained style brings its own"
        if flags.model is None:
            return "name a style with --model FILE; checkpoints/ holds those that ship"
    else:
        foreign = [name for name in ("model", "noise_factor") if getattr(flags, name) is not None]
        if foreign:
            return f"--{foreign[0]} is for --method net; the reference takes its look from --texture FILE"
        if flags.texture is None:
            return "--method gatys takes its look from a picture: name it with --texture FILE"
    return None


def network(flags: argparse.Namespace) -> tuple[str, Painter]:
    """A trained style: its name, and what paints with it."""
    from texturenet import devices, images
    from texturenet.stylizer import Stylizer

    style = Stylizer(flags.model, devices.resolve_device(flags.device))
    seed = given(flags, GatysRecipe).get("seed", 0)
    if flags.pictures and not style.paints_photos:
        raise ValueError(f"{flags.model} makes a texture and takes no photo; give --size 1024x768 alone")
    if style.paints_photos and not flags.pictures:
        raise ValueError(f"{flags.model} paints photos: name at least one picture")

    def paint(photo: Path | None, target: Path) -> str:
        if photo is None:
            picture = style.synthesize(*texture_size(flags), seed, flags.noise_factor)
        else:
            picture = style(images.load_image(photo, flags.size), seed, flags.noise_factor)
        images.save_image(picture, target, flags.quality)
        return str(target)

    return style.name, paint


def iterative(flags: argparse.Namespace) -> tuple[str, Painter]:
    """The iterative method: the texture's name, and what paints with it."""
    typed = given(flags, GatysRecipe)
    gatys_recipe(flags.preset, typed)  # a contradiction is told before torch loads
    from texturenet import devices
    from texturenet.reference import Reference

    device = devices.resolve_device(flags.device)
    print(f"device: {devices.describe(device)}")
    painter = Reference(flags.preset, typed, flags.texture, device)

    def paint(photo: Path | None, target: Path) -> str:
        size = flags.size if photo else texture_size(flags)
        return "\n".join(map(str, painter(photo, target, size, flags.quality)))

    return flags.texture.stem, paint


def texture_size(flags: argparse.Namespace) -> tuple[int, int]:
    """(h, w) of a texture without a photo."""
    size = flags.size or 512
    return size if isinstance(size, tuple) else (size, size)


def main(argv: list[str] | None = None) -> int:
    cli = parser()
    flags = cli.parse_args(argv)
    if trouble := check(flags):
        cli.error(trouble)
    name, paint = iterative(flags) if flags.method == "gatys" else network(flags)
    from tqdm import tqdm

    from texturenet import images  # torch loads in seconds, after --help and typing errors
    from texturenet.stylizer import OUTPUT_DIR, plan

    if not flags.pictures:
        height, width = texture_size(flags)
        target = flags.output or OUTPUT_DIR
        if target.suffix.lower() not in images.SAVE_FORMATS:
            target = target / f"{name}-{width}x{height}.png"
        print(paint(None, target))
        return 0

    failures = 0
    work = plan(flags.pictures, flags.output, name)
    for item in tqdm(work, unit="picture", disable=len(work) == 1):
        try:
            tqdm.write(paint(item.source, item.target), file=sys.stdout)
        except (ValueError, OSError) as error:
            failures += 1
            tqdm.write(f"stylize.py: error: {error}", file=sys.stderr)
    if failures and len(work) > 1:
        print(f"{failures} of {len(work)} pictures failed", file=sys.stderr)
    return 2 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        print(f"stylize.py: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
