"""Textures of ink and paint: brushstrokes, a woodcut, marbled paper.

Each is `(rng, n) -> (n, n, 3)`, RGB roughly in [0, 1]. `n` is the side of a canvas twice the size of the picture;
lengths are written for a picture of 512 pixels, and `u = n / 512` turns them into canvas pixels.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from data.noise import (
    Array,
    box,
    fractal_noise,
    grid,
    jittered_seeds,
    light,
    palette,
    ramp,
    smooth_noise,
    smoothstep,
)


def brushstrokes(rng: np.random.Generator, n: int) -> Array:
    """A swirling night sky in thick oil: strokes follow a flow with vortices, a golden light at the heart of each."""
    u = n / 512
    y, x = grid(n)
    vy, vx = 0.55 * smooth_noise(rng, (n, n), 40 * u), 0.9 + 0.35 * smooth_noise(rng, (n, n), 60 * u)
    tone = 0.30 + 0.13 * smooth_noise(rng, (n, n), 24 * u) + 0.07 * smooth_noise(rng, (n, n), 9 * u)
    for cy, cx in jittered_seeds(rng, n, n / 3, jitter=0.75):
        radius = rng.uniform(26, 52) * u
        dy, dx = (y - cy + n / 2) % n - n / 2, (x - cx + n / 2) % n - n / 2
        distance = np.hypot(dy, dx) / radius
        turn = rng.choice([-3.5, 3.5]) * np.exp(-(distance**2) / 1.6)
        vy, vx = (
            vy - turn * dx / radius - 0.12 * turn * dy / radius,
            vx + turn * dy / radius - 0.12 * turn * dx / radius,
        )
        rings = 0.62 * np.exp(-(distance**2) * 1.1) + 0.12 * np.cos(distance * 6.5) * np.exp(-(distance**2) / 2)
        tone = tone + rings
    speed = np.hypot(vy, vx) + 1e-6
    vy, vx = vy / speed, vx / speed
    night = palette("#08123a #0d2466 #1742a0 #2b6cc4 #5aa0d8 #9cc8d8 #e8dc9a #f6c636 #f2a81a #fff2b8")

    colour = np.broadcast_to(night[1], (n, n, 3)).copy()
    height = np.zeros((n, n), np.float32)
    for length, width, coverage in ((74, 13, 3.0), (52, 8.5, 2.4), (34, 5.5, 1.1)):
        count = int(coverage * 512 * 512 / (length * width))
        centre = rng.uniform(0, n, (count, 2))
        base = tone[centre[:, 0].astype(int), centre[:, 1].astype(int)] + rng.normal(0, 0.085, count)
        ink = ramp(night, base) * rng.normal(1, 0.07, (count, 3))
        for part in np.array_split(np.arange(count), 8):  # in parts, for memory
            _lay_strokes(rng, colour, height, (vy, vx), centre[part], ink[part], length * u, width * u)
    lambert, highlight = light(gaussian_filter(height, 0.5 * u) * u, 1.1, shine=24)
    return colour * (0.42 + 0.86 * lambert)[..., None] + 0.13 * highlight[..., None]


def _lay_strokes(
    rng: np.random.Generator,
    colour: Array,
    height: Array,
    flow: tuple[Array, Array],
    centre: NDArray[np.float64],
    ink: Array,
    length: float,
    width: float,
) -> None:
    """Paint strokes in place, `(N, 2)` centres and `(N, 3)` inks, each a bundle of bristles drawn along the flow."""
    n, count = len(height), len(centre)
    steps, across = int(length / 0.75), int(width / 0.7)
    path = np.empty((count, steps, 2), np.float32)
    for direction in (1, -1):
        point = centre.copy()
        for i in range(steps // 2, steps) if direction > 0 else range(steps // 2 - 1, -1, -1):
            row, col = point[:, 0].astype(int) % n, point[:, 1].astype(int) % n
            point += direction * 0.75 * np.stack([flow[0][row, col], flow[1][row, col]], 1)
            path[:, i] = point
    tangent = np.gradient(path, axis=1)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-6
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], -1)

    s = np.linspace(-1, 1, steps, dtype=np.float32)[None, :, None]  # along
    t = np.linspace(-1, 1, across, dtype=np.float32)[None, None, :]  # across
    bristle = gaussian_filter(rng.standard_normal((count, 1, across), dtype=np.float32), (0, 0, 0.8))
    bristle /= bristle.std()
    taper = np.sqrt(np.clip(1 - np.abs(s) ** 5, 0, 1)) * (1 - 0.25 * s)
    dry = 0.80 + 0.10 * bristle  # where along the stroke each bristle runs out of paint
    painted = (np.abs(t) < taper) & (s < dry)
    ridge = np.exp(-(((np.abs(t) - 0.82) / 0.16) ** 2))  # paint is pushed out to the edges
    relief = 1.0 * bristle + 1.6 * ridge + 1.2 * np.sqrt(np.clip(1 - t * t, 0, 1)) - 0.5 * s
    shade = 1 + 0.13 * bristle + 0.05 * s
    points = path[:, :, None] + normal[:, :, None] * (t * width / 2)[..., None]
    rows, cols = points[..., 0].round().astype(np.intp) % n, points[..., 1].round().astype(np.intp) % n
    rows, cols = rows[painted], cols[painted]
    colour[rows, cols] = (ink[:, None, None] * shade[..., None] * np.ones((1, steps, 1, 1), np.float32))[painted]
    height[rows, cols] = relief[painted]


def woodcut(rng: np.random.Generator, n: int) -> Array:
    """A woodcut of hills behind hills: carved lines that swell with the shadow, two inks on cream paper."""
    u = n / 512
    y, x = grid(n)
    y, x = y + 6 * u * smooth_noise(rng, (n, n), 24 * u), x + 6 * u * smooth_noise(rng, (n, n), 24 * u)
    ink = np.ones((n, n), np.float32)  # 1 where the block prints
    tint = np.zeros((n, n), np.intp)
    wobble = 0.10 * smooth_noise(rng, (n, n), 6 * u)
    spacing = 58 * u
    centres = [
        (row * 0.56 * spacing + rng.normal(0, 0.10) * spacing, (col + 0.5 * (row % 2) + rng.normal(0, 0.12)) * spacing)
        for row in range(int(n / spacing / 0.56) + 4)
        for col in range(-1, int(n / spacing) + 2)
    ]
    for i, (cy, cx) in enumerate(centres):  # from the top down: nearer hills stand in front
        radius = spacing * rng.uniform(0.66, 0.88)
        at = box(cy, cx, 1.4 * radius, (n, n))
        dy, dx = (y[at] - cy) / radius, (x[at] - cx) / radius
        r, theta = np.hypot(dy, dx), np.arctan2(dx, -dy)
        inside = r < 1
        edge = (1 - r) * radius / u  # picture pixels in from the outline
        shadow = np.clip(0.40 + 0.42 * np.sin(theta - 0.7) + 0.35 * (1 - edge / 26), 0.05, 0.97)
        if i % 3 == 0:  # lines along the contour
            phase = edge / 6.5
        elif i % 3 == 1:  # lines that run up to the crest and taper off
            phase = theta * round(2 * np.pi * radius / u / 7.5) / (2 * np.pi)
            shadow = np.clip(1.05 - edge / rng.uniform(18, 30), 0.0, 0.97) + 0.16 * np.sin(theta)
        else:  # slanting lines, curved like a furrow
            phase = (dx * 0.8 + dy * 0.5 + 0.28 * dx * dx) * radius / u / 6.2
        ridge = np.abs((phase + wobble[at]) % 1 - 0.5) * 2
        # The ramp is one canvas pixel wide, so that lines keep crisp edges at every size.
        line = smoothstep(-0.16, 0.16, shadow - ridge)
        outline = smoothstep(0.3, -0.3, edge - 2.4 - 8 * wobble[at])
        ink[at] = np.where(inside, np.maximum(line, outline), ink[at])
        tint[at] = np.where(inside, rng.choice([0, 0, 1, 2, 3]), tint[at])
    paper = palette("#f3e6c8 #e8a24a #d2553a #8fb3a4")[tint]  # cream, ochre, vermilion, celadon
    fibre = fractal_noise(rng, (n, n), 12 * u, 1.0)
    grain = smooth_noise(rng, (n, n), 0.8 * u, 18 * u)  # of the block, seen where ink is thin
    thin = smoothstep(1.55, 2.3, grain + 0.5 * fibre)
    coverage = np.clip(ink * (1 - 0.55 * thin), 0, 1)[..., None]
    sheet = paper * (1 + 0.03 * fibre + 0.02 * grain)[..., None]
    black = palette("#1a2033")[0] * (1 + 0.14 * fibre)[..., None]
    return sheet * (1 - coverage) + black * coverage


def marbling(rng: np.random.Generator, n: int) -> Array:
    """Marbled paper: drops of ink pushed outwards by later drops, then drawn through with stylus and combs.

    Each pixel is followed backwards through the bath: the combs are undone, then the drops, the last one first; the
    pixel has the colour of the drop in which it ends. A drop of radius r moves a point at distance d to
    sqrt(d^2 + r^2), which keeps every area: Jaffer's mathematical marbling.
    """
    u = n / 512
    y, x = (c / u for c in grid(n))
    ink_colours = palette("#101c3c #16407a #1f7f94 #8cc4b8 #f4e6cc #f0b23c #de6a2a #a81f2e #5c1238 #f7f2e4")
    y = y + 3.0 * smooth_noise(rng, (n, n), 40 * u)
    x = x + 3.0 * smooth_noise(rng, (n, n), 40 * u)
    for angle, period, reach in ((np.pi / 2, 64, 26), (0.0, 42, 34), (np.pi / 2, 128, -30)):
        phase = rng.uniform(0, period)
        along, across = (y * np.cos(angle) + x * np.sin(angle)), (-y * np.sin(angle) + x * np.cos(angle))
        to_tine = np.abs((across + phase) % period - period / 2)
        sign = np.where(np.floor((across + phase) / period) % 2 < 1, 1, -1)  # every other tine goes back
        shift = sign * reach * np.exp(-to_tine / (0.16 * period)) + 5 * np.sin(along / 19 + phase)
        y, x = y + shift * np.cos(angle), x + shift * np.sin(angle)
    picture = np.broadcast_to(ink_colours[4], (n, n, 3)).copy()
    y, x = y.ravel(), x.ravel()
    flat, open_at = picture.reshape(-1, 3), np.arange(n * n)
    for _ in range(560):
        cy, cx = rng.uniform(-40, 552, 2)
        radius = rng.choice([8, 15, 24, 36], p=[0.25, 0.33, 0.3, 0.12])
        dy, dx = y - cy, x - cx
        d2 = dy * dy + dx * dx
        hit = d2 < radius**2
        flat[open_at[hit]] = ink_colours[rng.integers(len(ink_colours))]
        free = ~hit
        shrink = np.sqrt(1 - radius**2 / d2[free])
        y, x, open_at = cy + dy[free] * shrink, cx + dx[free] * shrink, open_at[free]
    paper = 1 + 0.035 * fractal_noise(rng, (n, n), 24 * u, 0.9)
    flow = gaussian_filter(picture, (0.5 * u, 0.5 * u, 0))
    return flow * paper[..., None]
