"""A scene, its objects' exact visible masks, and the canvas that it is painted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.noise import Array, halve, to_bytes

Mask = NDArray[np.bool_]
Window = tuple[slice, slice]

CATEGORIES = {  # name -> COCO supercategory; the ids count from 1 in this order
    "blob": "shape",
    "polygon": "shape",
    "ellipse": "shape",
    "sun": "landscape",
    "mountain": "landscape",
    "hill": "landscape",
    "water": "landscape",
    "tree": "landscape",
    "house": "landscape",
}


@dataclass(frozen=True)
class Scene:
    """A picture, `(h, w, 3)` bytes; object k of `names` (counted from 1) is seen where `labels`, `(h, w)`, is k."""

    picture: NDArray[np.uint8]
    labels: NDArray[np.intp]
    names: list[str]


class Canvas:
    """A picture being painted from back to front, twice the size of the scene, with the front object at each pixel."""

    def __init__(self, h: int, w: int) -> None:
        self.h, self.w = 2 * h, 2 * w
        self.y, self.x = np.mgrid[: self.h, : self.w].astype(np.float32)
        self.colour = np.zeros((self.h, self.w, 3), np.float32)
        self.labels = np.zeros((self.h, self.w), np.intp)
        self.names: list[str] = []

    def paint(self, name: str, at: Window, mask: Mask, colour: Array) -> None:
        """Put one object in front of everything painted so far."""
        self.names.append(name)
        self.colour[at] = np.where(mask[..., None], colour, self.colour[at])
        self.labels[at] = np.where(mask, len(self.names), self.labels[at])

    def finish(self, rng: np.random.Generator) -> Scene:
        """Vignette and sensor grain, then down to the scene's size, where a label is the majority of its 2 x 2."""
        radius = np.hypot(self.y / self.h - 0.5, self.x / self.w - 0.5)
        picture = halve(self.colour * (1.04 - 0.30 * radius**2)[..., None])
        picture = picture + rng.normal(0, 0.008, picture.shape)
        # The four labels of each pixel in order; the middle two tell which one there is two or more of.
        quad = self.labels.reshape(self.h // 2, 2, self.w // 2, 2).transpose(0, 2, 1, 3)
        a, b, c, d = np.moveaxis(np.sort(quad.reshape(self.h // 2, self.w // 2, 4), axis=-1), -1, 0)
        labels = np.where(b == c, b, np.where(c == d, c, a))
        return Scene(to_bytes(picture), labels, self.names)
