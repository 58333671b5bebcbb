"""Make the pictures of the README and of stylize.md from what ships: `python docs/make_pictures.py`.

The photos are scikit-image's own, in the public domain (astronaut: NASA) or CC0 (cat: Stefan van der Walt; coffee:
Rachel Michetti), the landscape is the project's (data/sample).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402
import skimage.data  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch import Tensor  # noqa: E402

from texturenet import checkpoint, gatys, images, judging, styles  # noqa: E402
from texturenet.presets import GatysRecipe  # noqa: E402
from texturenet.segments import Segments  # noqa: E402
from texturenet.stylizer import Stylizer  # noqa: E402

SMALL = 200  # of every picture in stylize.md
TILE = 200  # side of a picture in the gallery


def photo(pixels: np.ndarray, height: int) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, height, W') in [0, 1]."""
    image = images.to_tensor(Image.fromarray(pixels))
    return images.resize(image, (height, round(image.shape[-1] * height / image.shape[-2])))


def row(name: str, titled: Sequence[tuple[str, Tensor]]) -> None:
    """docs/NAME.jpg: pictures of one height, each with the flag that made it."""
    sheet = images.sheet([[image for _, image in titled]], [title for title, _ in titled])
    images.save_image(sheet, ROOT / "docs" / f"{name}.jpg", quality=80)


def square(image: Tensor, side: int) -> Tensor:
    """The middle of a picture (1, 3, H, W), (1, 3, side, side)."""
    edge = min(image.shape[-2:])
    top, left = ((length - edge) // 2 for length in image.shape[-2:])
    return images.resize(image[..., top : top + edge, left : left + edge], (side, side))


def learned(style: Path) -> Tensor:
    """The texture of a style, (1, 3, H, W) in [0, 1]."""
    pixels: Tensor = checkpoint.load(style)["texture"]
    return pixels[None].float() / 255


def gallery() -> None:
    """Every style that ships on every photo, painted at 400 px and shown at half of that."""
    shown = [images.to_tensor(Image.fromarray(pixels)) for pixels in (skimage.data.astronaut(), skimage.data.chelsea())]
    shown.append(images.load_image(ROOT / "data" / "sample" / "train2017" / "000000000005.jpg"))
    photos = [square(image, 2 * TILE) for image in shown]
    titles, columns = ["photo"], [[torch.ones(1, 3, TILE, TILE), *photos]]
    for path in styles.shipped():
        titles.append(path.stem)
        columns.append([square(learned(path), TILE), *map(Stylizer(path), photos)])
    small = [[images.resize(image, (TILE, TILE)) for image in column] for column in columns]
    sheet = images.sheet([list(row) for row in zip(*small, strict=True)], titles)
    images.save_image(sheet, ROOT / "docs" / "gallery.jpg", quality=86)


def controls(style: Stylizer) -> None:
    cat, coffee = photo(skimage.data.chelsea(), SMALL), photo(skimage.data.coffee(), SMALL)
    row("strength", [(f"--strength {s}", style(cat, strength=s)) for s in (0, 0.3, 0.6, 1)])
    factors = [(f"--noise_factor {f}", style(coffee, noise_factor=f)) for f in (0, 0.5, 1, 2)]
    row("noise", [*factors, ("--seed 7", style(coffee, 7))])
    kept = [(f"--preserve_color {how}", style(coffee, preserve_color=how)) for how in ("luma", "hist")]
    row("preserve_color", [("photo", coffee), ("painting", style(coffee)), *kept])

    astronaut = photo(skimage.data.astronaut(), 512)
    window = (..., slice(20, 20 + 280), slice(60, 60 + 300))  # at full size: what comes back is fine
    sizes = [(f"--work_size {size}", style(astronaut, work_size=size)[window]) for size in (320, 200)]
    row("work_size", [("photo", astronaut[window]), ("painting", style(astronaut)[window]), *sizes])

    name = "000000000005.jpg"
    scene = images.load_image(ROOT / "data" / "sample" / "train2017" / name)
    annotations = ROOT / "data" / "sample" / "annotations" / "instances_train2017.json"
    mountain = Segments(annotations, ["mountain"]).mask(Path(name))
    fading = torch.linspace(0, 1, scene.shape[-1]).expand(1, 1, *scene.shape[-2:])
    where = [
        ("--segments_category mountain", style(scene, mask=mountain)),
        ("the same with --mask_invert", style(scene, mask=1 - mountain)),
        ("--mask, from black to white", style(scene, mask=fading)),
    ]
    row("where", where)


def refined() -> None:
    """What the first iterations of the reference add to a painting."""
    cat = photo(skimage.data.chelsea(), 300)
    tiles = []
    for name in ("mosaic", "woodcut"):
        refining = judging.refiner(styles.find(name), 10, "cpu")
        tiles += [(name, Stylizer(name)(cat)), ("--refine 10", Stylizer(name, finish=refining)(cat))]
    row("refine", tiles)


def reference() -> None:
    """One pass, and how far the reference has come from the photo after some iterations."""
    judged = judging.open_judged(styles.find("starry_night"))
    face = photo(skimage.data.astronaut(), 320)
    texture = images.resize(judged.texture, 320)
    tiles = [("photo", face), ("the texture", square(texture, 320)), ("one pass", judged.stylizer(face))]

    def keep(iterate: gatys.Iterate) -> None:
        if iterate.iteration in (10, 30, 100):
            tiles.append((f"Gatys {iterate.iteration}", iterate.image))

    content = judged.loss_function.content_features(face)
    gatys.descend(judged.loss_function, face, content, GatysRecipe(iterations=100), keep)
    row("reference", tiles)


def textures() -> None:
    """Every texture that ships, a sample of it, and four of that sample side by side."""
    side = 2 * TILE - 2 * TILE % 32  # a size that the network makes without cropping, so that it tiles
    rows = []
    for path in styles.textures():
        sample = Stylizer(path).synthesize(side, side)
        tiling = images.resize(sample.repeat(1, 1, 2, 2), (side, side))
        rows.append([images.resize(learned(path), (side, side)), sample, tiling])
    sheet = images.sheet(rows, ["the texture", f"--size {side}x{side}", "four of them, half as large"])
    images.save_image(sheet, ROOT / "docs" / "texture.jpg", quality=80)


def varied(flag: str, made: Sequence[Stylizer]) -> None:
    """One texture, learned with several values of a flag of train.py."""
    astronaut = photo(skimage.data.astronaut(), 320)
    row(flag, [("photo", astronaut), *((f"--{flag} {style.recipe[flag]}", style(astronaut)) for style in made)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--varied",
        nargs="+",
        metavar=("FLAG", "STYLE"),
        help="styles that differ in a flag of train.py: FLAG.jpg alone",
    )
    if varying := parser.parse_args().varied:
        varied(varying[0], [Stylizer(styles.find(name)) for name in varying[1:]])
        return
    style = Stylizer("mosaic")
    gallery()
    textures()
    controls(style)
    refined()
    reference()


if __name__ == "__main__":
    main()
