"""The textures by name.

Their main structure is 20 to 60 pixels wide in a picture of 512, with strong contrast: that is what a style transfer
picks up best.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from data.draw_painted import brushstrokes, marbling, woodcut
from data.draw_relief import mosaic, pebbles, tesserae, weave
from data.noise import Array, halve, to_bytes

TEXTURES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "mosaic": mosaic,
    "brushstrokes": brushstrokes,
    "woodcut": woodcut,
    "pebbles": pebbles,
    "marbling": marbling,
    "weave": weave,
    "tesserae": tesserae,
}


def draw_texture(name: str, size: int = 512, seed: int = 0) -> NDArray[np.uint8]:
    """One texture as `(size, size, 3)` bytes; the same name, size and seed give the same picture."""
    if name not in TEXTURES:
        raise ValueError(f"no texture is called {name!r}: choose from {', '.join(TEXTURES)}")
    # The name is part of the seed, so that adding a texture doesn't change the others.
    rng = np.random.default_rng([seed, *name.encode()])
    return to_bytes(halve(TEXTURES[name](rng, 2 * size)))
