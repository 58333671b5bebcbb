"""Make the README's pictures from what ships: `python docs/make_pictures.py`.

The photos are scikit-image's own, in the public domain (astronaut: NASA) or CC0 (cat: Stefan van der Walt; coffee:
Rachel Michetti).
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402
import skimage.data  # noqa: E402
import torch  # noqa: E402

from texturenet import images  # noqa: E402
from texturenet.stylizer import Stylizer  # noqa: E402

HEIGHT = 300  # px, of every picture in the row


def photo(pixels: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, HEIGHT, W') in [0, 1]."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
    return images.resize(image, (HEIGHT, round(image.shape[-1] * HEIGHT / image.shape[-2])))


def main() -> None:
    style = Stylizer(ROOT / "checkpoints" / "mosaic.pt")
    texture = images.resize(images.load_image(ROOT / "data" / "textures" / "mosaic.jpg"), (HEIGHT, HEIGHT))
    photos = [photo(pixels) for pixels in (skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut())]
    blank = torch.ones_like(texture)
    rows = [[blank, *photos], [texture, *(style(image) for image in photos)]]
    images.save_image(images.sheet(rows), ROOT / "docs" / "mosaic.jpg", quality=88)


if __name__ == "__main__":
    main()
