#!/usr/bin/env python3
"""Paint pictures with a trained style.

python stylize.py --model checkpoints/mosaic.pt img.jpg                  into stylized/img-mosaic.jpg
python stylize.py --model checkpoints/mosaic.pt holiday/ -o painted/     a folder, its tree kept
python stylize.py --model checkpoints/peppers.pt --size 1024x768         the texture itself, of any size
"""

import argparse
import re
import sys
from pathlib import Path


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
    look = parser.add_argument_group("look")
    look.add_argument(
        "--size",
        type=_size,
        metavar="PX",
        help="longer side of the result, or WIDTHxHEIGHT for a texture (default: as the picture)",
    )
    look.add_argument("--noise_factor", type=float, metavar="FLOAT", help="strength of the noise (default: as trained)")
    look.add_argument("--seed", type=int, default=0, metavar="INT", help="of the noise (default: 0)")
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help="file for one picture, else a folder (default: stylized/)"
    )
    output.add_argument("--quality", type=int, default=95, metavar="INT", help="of JPEG and WebP, 1-100 (default: 95)")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda[:N] or mps (default: auto)")
    machine.add_argument("--cuda", dest="device", action="store_const", const="cuda", help="short for --device cuda")
    machine.add_argument("--cpu", dest="device", action="store_const", const="cpu", help="short for --device cpu")
    return parser


def main(argv: list[str] | None = None) -> int:
    cli = parser()
    flags = cli.parse_args(argv)
    if flags.model is None:
        cli.error("name a style with --model FILE; checkpoints/ holds those that ship")
    if flags.pictures and isinstance(flags.size, tuple):
        cli.error(f"--size {flags.size[1]}x{flags.size[0]}: a picture keeps its aspect; give its longer side alone")
    if not 1 <= flags.quality <= 100:
        cli.error(f"--quality {flags.quality}: give 1 to 100")
    from tqdm import tqdm

    from texturenet import devices, images  # torch loads in seconds, after --help and typing errors
    from texturenet.stylizer import OUTPUT_DIR, Stylizer, plan

    device = devices.resolve_device(flags.device)
    style = Stylizer(flags.model, device)
    if not style.paints_photos:
        if flags.pictures:
            raise ValueError(f"{flags.model} makes a texture and takes no photo; give --size 1024x768 alone")
        size = flags.size or 512
        height, width = size if isinstance(size, tuple) else (size, size)
        target = flags.output or OUTPUT_DIR / f"{style.name}-{width}x{height}.png"
        if target.suffix.lower() not in images.SAVE_FORMATS:
            target = target / f"{style.name}-{width}x{height}.png"
        images.save_image(style.synthesize(height, width, flags.seed, flags.noise_factor), target, flags.quality)
        print(target)
        return 0
    if not flags.pictures:
        raise ValueError(f"{flags.model} paints photos: name at least one picture")

    failures = 0
    work = plan(flags.pictures, flags.output, style.name)
    for item in tqdm(work, unit="picture", disable=len(work) == 1):
        try:
            photo = images.load_image(item.source, flags.size)
            images.save_image(style(photo, flags.seed, flags.noise_factor), item.target, flags.quality)
            tqdm.write(str(item.target), file=sys.stdout)
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
