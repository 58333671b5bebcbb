"""Draw the pictures that the project ships: textures to learn from, and sample scenes in MSCOCO's layout.

python -m data.draw textures                     # data/textures/<name>.jpg, all of them
python -m data.draw textures --names mosaic --size 1024 --seed 3 --out_dir textures
python -m data.draw sample                       # data/sample/{annotations,train2017,val2017}
python -m data.draw sample --train 500 --val 20 --out_dir coco
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

if __package__ in (None, ""):  # run as a file: `data` is then found next to this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from data.coco_files import write_jpeg, write_split
from data.draw_dead_leaves import dead_leaves
from data.draw_landscapes import landscape
from data.draw_textures import TEXTURES, draw_texture
from data.scene import Scene
from texturenet import program
from texturenet.config import at_least, filled
from texturenet.files import require_writable

HERE = Path(__file__).resolve().parent
SCENES: dict[str, Callable[[np.random.Generator, int, int], Scene]] = {
    "dead_leaves": dead_leaves,
    "landscape": landscape,
}
SCENE_SIZES = ((240, 320), (320, 240), (256, 384), (288, 288), (240, 360), (384, 256))  # h, w
TEXTURE_JPEG_QUALITY = 86
LARGEST = 3_000  # px a side; pebbles take 1.9 kB a pixel while they are drawn


def draw_scene(image_id: int, seed: int = 0) -> Scene:
    """Scene number `image_id` of a seed: the families take turns, at sizes that vary as photos' do."""
    rng = np.random.default_rng([seed, image_id])
    family = list(SCENES.values())[image_id % len(SCENES)]
    h, w = SCENE_SIZES[rng.integers(len(SCENE_SIZES))]
    return family(rng, h, w)


def draw_sample(out_dir: Path, train: int, val: int, seed: int) -> None:
    """A COCO root of `train` + `val` scenes; the ids of val follow those of train."""

    def scenes(first: int, count: int) -> Iterator[Scene]:
        return (draw_scene(i, seed) for i in range(first, first + count))

    write_split(out_dir, "train2017", scenes(1, train), first_id=1)
    write_split(out_dir, "val2017", scenes(1 + train, val), first_id=1 + train)


def draw_textures(out_dir: Path, names: Sequence[str], size: int, seed: int) -> None:
    require_writable(out_dir)
    for name in names:
        path = out_dir / f"{name}.jpg"
        write_jpeg(draw_texture(name, size, seed), path, TEXTURE_JPEG_QUALITY)
        print(path)


def build_parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m data.draw", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shows_defaults = argparse.ArgumentDefaultsHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    textures = commands.add_parser("textures", help="draw the textures as JPEG", formatter_class=shows_defaults)
    textures.add_argument("--names", nargs="+", choices=list(TEXTURES), default=list(TEXTURES), help="which ones")
    size = at_least(int, 1, below=LARGEST + 1)
    textures.add_argument("--size", type=size, default=512, help="side of the square picture, in pixels")
    textures.add_argument("--out_dir", type=filled(Path), default=HERE / "textures", help="folder to write to")
    sample = commands.add_parser(
        "sample", help="draw scenes with instance masks as a COCO root", formatter_class=shows_defaults
    )
    sample.add_argument("--train", type=at_least(int, 1), default=48, help="number of scenes in train2017")
    sample.add_argument("--val", type=at_least(int, 1), default=8, help="number of scenes in val2017")
    sample.add_argument("--out_dir", type=filled(Path), default=HERE / "sample", help="folder to write to")
    for command in (textures, sample):
        command.add_argument("--seed", type=at_least(int, 0), default=0, help="another seed draws other pictures")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return program.run("python -m data.draw", partial(_draw, build_parser().parse_args(argv)))


def _draw(args: argparse.Namespace) -> None:
    if args.command == "textures":
        draw_textures(args.out_dir, args.names, args.size, args.seed)
    else:
        draw_sample(args.out_dir, args.train, args.val, args.seed)
        print(args.out_dir)


if __name__ == "__main__":
    sys.exit(main())
