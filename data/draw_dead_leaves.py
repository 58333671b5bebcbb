"""Dead leaves: opaque textured shapes dropped on one another, whose statistics come close to those of photos."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from data.noise import Array, box, fractal_noise, palette, ramp, smooth_noise, smoothstep
from data.scene import Canvas, Mask, Scene, Window

LEAF_PALETTES = [
    "#2b2a22 #4d4a33 #7c7a4c #a8a578 #5f7a3a #8c5a32 #c9b78c",  # forest floor
    "#1f2c38 #3c566b #7d97a6 #c3cdd0 #8a7b6b #d9cdb8 #a4502f",  # harbour
    "#3a2418 #7a4526 #b97a42 #e0b878 #f0dfc0 #56684a #2f4a58",  # market
    "#26323a #4f6f52 #86a36a #c8cf9a #e8d8a8 #c0785a #6a3f4a",  # garden
    "#22222a #55525c #8f8a90 #c8c2bd #efe9df #b0413a #35618c",  # street
]


def dead_leaves(rng: np.random.Generator, h: int, w: int) -> Scene:
    """Shapes with textures, lighting and soft shadows of their own, the far ones out of focus."""
    canvas = Canvas(h, w)
    colours = palette(LEAF_PALETTES[rng.integers(len(LEAF_PALETTES))])
    shape = (canvas.h, canvas.w)
    noises = [fractal_noise(rng, shape, 160, exponent) for exponent in (0.9, 1.3, 1.8)]
    noises.append(smooth_noise(rng, shape, 5))
    canvas.colour[:] = ramp(colours[:3], 0.5 + 0.25 * noises[1]) * 0.6
    # Sizes with a density of r^-3 make a picture look alike at every magnification, as photos do. So few of them are
    # large that the ground would lie bare; a first layer of large ones covers it.
    small, large = 14.0, 0.45 * min(shape)
    radii = (small**-2 - rng.random(90) * (small**-2 - large**-2)) ** -0.5
    radii = np.concatenate([rng.uniform(0.20, 0.42, 26) * min(shape), radii])
    blur_after = {12: 2.4, 26: 1.5, 66: 0.8}
    toward_light = rng.uniform(-2.4, -0.7)
    ly, lx = math.sin(toward_light), math.cos(toward_light)
    for i, radius in enumerate(radii):
        if i in blur_after:
            canvas.colour = gaussian_filter(canvas.colour, (blur_after[i], blur_after[i], 0)) * 0.94 + 0.02
        cy, cx = rng.uniform(0, canvas.h), rng.uniform(0, canvas.w)
        at = box(cy, cx, 1.7 * radius, shape)
        dy, dx = (canvas.y[at] - cy) / radius, (canvas.x[at] - cx) / radius
        name, level = _leaf_shape(rng, dy, dx)
        mask = level < 1
        if not mask.any():
            continue
        reach = min(0.10 * radius, 7) + 3  # of the shadow, in pixels
        tight = _around(mask, 2 * int(reach))
        top, left = at[0].start, at[1].start
        at = slice(top + tight[0].start, top + tight[0].stop), slice(left + tight[1].start, left + tight[1].stop)
        dy, dx, level, mask = dy[tight], dx[tight], level[tight], mask[tight]
        pad, down, right = int(reach) + 1, int(ly * reach), int(lx * reach)
        h2, w2 = level.shape
        moved = np.pad(level, pad, mode="edge")[pad + down : pad + down + h2, pad + right : pad + right + w2]
        shadow = 1 - smoothstep(1 - reach / radius, 1 + reach / radius, moved)  # its edge is as soft as it is far
        canvas.colour[at] *= 1 - 0.55 * shadow[..., None]

        skin = _leaf_skin(rng, colours, dy, dx, [noise[at] for noise in noises])
        slope = rng.uniform(0.08, 0.28)
        shade = 1 + slope * (ly * dy + lx * dx) + 0.10 * noises[2][at]
        if rng.random() < 0.4:  # a rounded body, not a flat card
            shade = shade * (0.45 + 0.65 * np.sqrt(np.clip(1 - level**2, 0, 1)))
        canvas.paint(name, at, mask, skin * shade[..., None])
    canvas.colour *= rng.uniform([0.94, 0.96, 0.88], [1.06, 1.0, 1.04])  # white balance
    return canvas.finish(rng)


def _around(mask: Mask, margin: int) -> Window:
    """The window around a mask's pixels: much less to paint than all that a shape might have filled."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), min(mask.shape[0], int(rows[-1]) + 1 + margin)),
        slice(max(0, int(columns[0]) - margin), min(mask.shape[1], int(columns[-1]) + 1 + margin)),
    )


def _leaf_shape(rng: np.random.Generator, dy: Array, dx: Array) -> tuple[str, Array]:
    """A category and its level function over offsets in radii: below 1 is inside."""
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.45, 1.0)
    a = dx * math.cos(turn) + dy * math.sin(turn)
    b = (dy * math.cos(turn) - dx * math.sin(turn)) / squeeze
    name = str(rng.choice(["blob", "polygon", "ellipse"], p=[0.42, 0.36, 0.22]))
    if name == "ellipse":
        return name, np.hypot(a, b)
    if name == "polygon":
        sides = int(rng.integers(3, 8))
        facing = 2 * np.pi * np.arange(sides) / sides + rng.uniform(-0.12, 0.12, sides)
        return name, np.max([(a * math.cos(t) + b * math.sin(t)) / 0.65 for t in facing], axis=0)
    theta = np.linspace(-np.pi, np.pi, 361)
    waves = [rng.normal(0, 0.26 / k) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) for k in range(2, 8)]
    outline = np.clip(1 + np.sum(waves, axis=0), 0.3, 1.6)
    return name, np.hypot(a, b) / np.interp(np.arctan2(b, a), theta, outline).astype(np.float32)


def _leaf_skin(rng: np.random.Generator, colours: Array, dy: Array, dx: Array, noises: list[Array]) -> Array:
    """The texture of one shape, `(..., 3)`, between two or three of the picture's colours."""
    pair = colours[rng.permutation(len(colours))[:2]]
    rough, middle, soft, spots = noises
    turn = rng.uniform(0, np.pi)
    along = dx * math.cos(turn) + dy * math.sin(turn)
    kind = rng.choice(["cloud", "stripes", "gradient", "grain", "spots"])
    if kind == "cloud":
        t = 0.5 + rng.uniform(0.2, 0.4) * middle
    elif kind == "stripes":
        t = smoothstep(-0.35, 0.35, np.sin(along * rng.uniform(7, 26) + rng.uniform(0.2, 1.6) * soft)) + 0.08 * rough
    elif kind == "gradient":
        t = 0.5 + 0.45 * along + 0.06 * rough
    elif kind == "grain":
        t = 0.35 + 0.22 * rough + 0.10 * along
    else:
        t = smoothstep(0.2, 0.7, spots + 0.3 * middle) * 0.9 + 0.06 * rough
    t = np.clip(t, 0, 1)[..., None]
    return (pair[0] * (1 - t) + pair[1] * t) * (1 + 0.07 * rough)[..., None]
