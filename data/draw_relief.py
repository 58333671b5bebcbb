"""Textures that are height fields under a light: stained glass, pebbles, cloth, a Roman floor.

Each is `(rng, n) -> (n, n, 3)`, RGB roughly in [0, 1]. `n` is the side of a canvas twice the size of the picture;
lengths are written for a picture of 512 pixels, and `u = n / 512` turns them into canvas pixels.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from data.noise import (
    Array,
    box,
    fractal_noise,
    grid,
    jittered_seeds,
    light,
    palette,
    sample,
    smooth_noise,
    smoothstep,
    voronoi,
)


def mosaic(rng: np.random.Generator, n: int) -> Array:
    """Stained glass: ribbons of one colour family between thick leads, cut into panes by thin ones."""
    u = n / 512
    y, x = grid(n)
    y, x = y + 7 * u * smooth_noise(rng, (n, n), 26 * u), x + 7 * u * smooth_noise(rng, (n, n), 26 * u)
    seeds = jittered_seeds(rng, n, 40 * u, jitter=0.95)
    pane, to_pane_border = voronoi(seeds, y, x, n)

    # Ribbons are bands between contour lines of a smooth field; the distance to a line is value / slope.
    families = [
        palette("#c4720a #eba012 #f9c73a #fdeaa0"),  # amber
        palette("#7a0a1c #b3122a #d8343a #ef7a4a"),  # ruby
        palette("#3a1466 #6a249c #9a4ac4 #cf94dc"),  # violet
        palette("#2a6a14 #4f9426 #8cbf3a #dcec96"),  # leaf
        palette("#064d52 #0a8078 #21b09a #8fdcc0"),  # teal
        palette("#0a1f6b #1440b8 #1f6fd6 #5ab4ee"),  # cobalt
    ]
    level = smooth_noise(rng, (n, n), 46 * u) * 1.25
    slope = np.hypot(*np.gradient(level))
    band = np.floor(level).astype(np.intp)
    to_band_border = np.minimum(level - band, band + 1 - level) / np.maximum(slope, 0.007 / u)
    stray = rng.choice([0, 0, 0, 0, 0, 0, 0, 1, -1], len(seeds))[pane]  # now and then a pane of the next family
    family = (band + stray) % len(families)

    # Each pane of each ribbon is its own piece of glass: its shade, the direction of its streaks, where light enters.
    shades = np.stack(families)[np.arange(len(families)), rng.integers(0, 4, (len(seeds), len(families)))]
    glass = shades[pane, family]
    angle = rng.uniform(0, np.pi, len(seeds))[pane]
    streaks = sample(
        smooth_noise(rng, (n, n), 1.6 * u, 16 * u),
        y * np.cos(angle) - x * np.sin(angle),
        y * np.sin(angle) + x * np.cos(angle),
    )
    lean = rng.uniform(-1, 1, (len(seeds), 2))[pane]
    offset = (np.stack([y, x], -1) - seeds[pane] + n / 2) % n - n / 2
    glow = 1.02 + 0.011 / u * (offset * lean).sum(-1) + 0.10 * fractal_noise(rng, (n, n), 30 * u)
    glass = glass * (glow + 0.09 * streaks)[..., None] + (0.05 * np.maximum(streaks, 0) ** 2)[..., None]
    glass = glass * smoothstep(-2 * u, 9 * u, np.minimum(to_pane_border, to_band_border))[..., None] ** 0.6

    lead = np.maximum(2.6 - to_pane_border / u, 1.25 * (3.4 - to_band_border / u))  # > 0 on lead, in picture pixels
    wobble = 0.35 * smooth_noise(rng, (n, n), 4 * u)
    cover = smoothstep(-0.4, 0.4, lead + wobble)[..., None]
    came = np.sqrt(np.clip(lead / 4, 0, 1)) * 5 * u + 0.25 * u * fractal_noise(rng, (n, n), 8 * u)
    lambert, highlight = light(gaussian_filter(came, 0.7 * u), 1.0)
    metal = palette("#17171c")[0] * (0.35 + 1.3 * lambert)[..., None] + 0.30 * highlight[..., None]
    picture = glass * (1 - cover) + metal * cover
    return picture + 0.10 * gaussian_filter(glass * (1 - cover), (5 * u, 5 * u, 0))  # light that bleeds over the leads


def pebbles(rng: np.random.Generator, n: int) -> Array:
    """Wet river stones of many colours over finer gravel, with shadow in the gaps, speckle and quartz veins."""
    u = n / 512
    stones = palette("#39464f #5d6d78 #8b98a0 #c9c3b4 #e9e2d2 #a8825a #c2693e #7c3b2e #55624a #2d3137 #d9a766 #6f7f8f")
    picture = np.zeros((n, n, 3), np.float32)
    height = np.zeros((n, n), np.float32)
    for spacing, keep, lift in ((17, 1.0, 0.0), (47, 0.88, 9.0)):
        y, x = grid(n)
        y, x = y + 4 * u * smooth_noise(rng, (n, n), 16 * u), x + 4 * u * smooth_noise(rng, (n, n), 16 * u)
        seeds = jittered_seeds(rng, n, spacing * u, jitter=0.85)
        stone, border = voronoi(seeds, y, x, n, rounding=0.07 * spacing * u)
        depth = border / u - 0.035 * spacing  # picture pixels in from the rim
        kept = rng.random(len(seeds)) < keep
        inside = (depth > 0) & kept[stone]
        dome = np.sqrt(np.clip(1 - (1 - np.clip(depth / (0.30 * spacing), 0, 1)) ** 2, 0, 1)) * 0.26 * spacing
        tones = stones[rng.integers(0, len(stones), len(seeds))] * rng.normal(1, 0.07, (len(seeds), 1))
        angle = rng.uniform(0, np.pi, len(seeds))[stone]
        along = (y * np.cos(angle) + x * np.sin(angle)) / u + 2.5 * fractal_noise(rng, (n, n), 40 * u)
        strata = np.sin(along * rng.uniform(0.25, 0.8, len(seeds))[stone])
        vein = smoothstep(0.93, 0.99, np.sin(along * 0.11)) * (rng.random(len(seeds)) < 0.35)[stone]
        mottle = 0.09 * fractal_noise(rng, (n, n), 20 * u, 1.0) + 0.07 * strata
        speckle = (
            smoothstep(1.7, 2.6, smooth_noise(rng, (n, n), 0.7 * u)) * rng.choice([-0.28, 0.22], len(seeds))[stone]
        )
        skin = tones[stone] * (1 + mottle + speckle)[..., None]
        skin += (0.75 * vein)[..., None] * (palette("#efe9dc")[0] - skin)
        picture = np.where(inside[..., None], skin, picture)
        height = np.where(inside, lift + dome, height)
    height = height * u
    lambert, highlight = light(gaussian_filter(height, 0.9 * u), 0.9, shine=60)
    gap = np.clip((gaussian_filter(height, 5 * u) - height) / (7 * u), 0, 1)  # lower than what is around: occluded
    cast = np.roll(height, (int(5 * u), int(5 * u)), (0, 1)) - height
    shadow = gaussian_filter(smoothstep(2 * u, 8 * u, cast), 1.2 * u)
    lit = (0.26 + 0.98 * lambert) * (1 - 0.75 * gap) * (1 - 0.55 * shadow)
    return picture * lit[..., None] + (0.42 * highlight * (1 - shadow))[..., None]


def weave(rng: np.random.Generator, n: int) -> Array:
    """Hand-woven cloth in coloured bands: round threads over and under, each spun of fibres."""
    u = n / 512
    threads = 26
    y, x = grid(n)
    v = y / n * threads + 0.10 * smooth_noise(rng, (n, n), 20 * u)
    h = x / n * threads + 0.10 * smooth_noise(rng, (n, n), 20 * u)
    row, col = np.floor(v).astype(int) % threads, np.floor(h).astype(int) % threads
    cloth = palette("#1d2f57 #efe3c8 #b8402a #2f6f8c #e0a030 #6d2036")
    bands = rng.permutation(np.resize(np.arange(len(cloth)), 3 * len(cloth)))
    stripes = np.repeat(bands, rng.choice([1, 2, 4], len(bands)))[:threads]
    wefts, warps = cloth[stripes], cloth[stripes[::-1]]
    wefts = wefts * rng.normal(1, 0.08, (threads, 1))
    warps = warps * rng.normal(1, 0.08, (threads, 1))

    across_v, across_h = (v % 1 - 0.5) * 2, (h % 1 - 0.5) * 2  # -1..1 over a thread's width
    bow = np.where((row + col) % 2 == 0, 1.0, -1.0)  # which one lies on top in this square
    weft_height = np.sqrt(np.clip(1 - (across_v / 0.94) ** 2, 0, 1)) * 5 + bow * np.cos(across_h * np.pi / 2) * 4.5
    warp_height = np.sqrt(np.clip(1 - (across_h / 0.94) ** 2, 0, 1)) * 5 - bow * np.cos(across_v * np.pi / 2) * 4.5
    weft_height = np.where(np.abs(across_v) < 0.94, weft_height, -6)
    warp_height = np.where(np.abs(across_h) < 0.94, warp_height, -6)
    weft_on_top = weft_height > warp_height
    fibre_v = np.sin(2 * np.pi * (2.2 * h + 1.4 * across_v) + 1.2 * smooth_noise(rng, (n, n), 6 * u))
    fibre_h = np.sin(2 * np.pi * (2.2 * v + 1.4 * across_h) + 1.2 * smooth_noise(rng, (n, n), 6 * u))
    fibre = np.where(weft_on_top, fibre_v, fibre_h)
    fuzz = np.where(weft_on_top, smooth_noise(rng, (n, n), 0.6 * u, 4 * u), smooth_noise(rng, (n, n), 4 * u, 0.6 * u))
    height = np.maximum(weft_height, warp_height)
    lambert, highlight = light(gaussian_filter((height + 0.7 * fibre + 0.25 * fuzz) * u, 0.5 * u), 0.75, shine=14)
    gap = np.clip((gaussian_filter(height, 5 * u) - height) / 9, 0, 1)
    dye = np.where(weft_on_top[..., None], wefts[row], warps[col]) * (1 + 0.06 * fibre + 0.07 * fuzz)[..., None]
    return dye * ((0.25 + 1.05 * lambert) * (1 - 0.85 * gap))[..., None] + 0.05 * highlight[..., None]


def tesserae(rng: np.random.Generator, n: int) -> Array:
    """A Roman floor of small stones set in overlapping fans, ring by ring."""
    u = n / 512
    fan, tile = 128 * u, 14.0 * u
    y, x = grid(n)
    y, x = y + 3 * u * smooth_noise(rng, (n, n), 30 * u), x + 3 * u * smooth_noise(rng, (n, n), 30 * u)
    stone = palette("#1c2b3a #23566b #3a8c8c #e9dcc0 #d9a441 #b4472c #6e1f2a #f4ecd8")
    motifs = np.array([[0, 7, 4, 5, 6, 4, 0], [0, 7, 2, 1, 2, 3, 4], [0, 3, 5, 6, 5, 4, 7], [0, 7, 1, 2, 3, 2, 5]])
    colour = np.broadcast_to(stone[0], (n, n, 3)).copy()
    edge = np.full((n, n), -9, np.float32)
    tilt = np.zeros((n, n), np.float32)
    rows, columns = int(n / (fan / 4)) + 5, int(n / fan) + 2
    for i in range(-1, rows):  # from the top down: a lower fan lies over the one above
        for j in range(-1, columns):
            cy, cx = i * fan / 4, (j + 0.5 * (i % 2)) * fan
            at = box(cy, cx, 0.62 * fan, (n, n))
            dy, dx = y[at] - cy, x[at] - cx
            inward = fan / 2 - np.hypot(dy, dx)
            inside = inward > 0
            ring = (inward / tile).astype(int).clip(0, 6)
            around = np.maximum(1, np.round(2 * np.pi * (fan / 2 - (ring + 0.5) * tile) / tile))
            position = (np.arctan2(dy, dx) / (2 * np.pi) + 0.5 + rng.random(7)[ring]) * around
            a, b = position % 1 - 0.5, (inward / tile) % 1 - 0.5  # -0.5..0.5 over a stone
            piece = (position.astype(int) % 64) * 7 + ring  # its number in the fan: 64 x 7 at most
            tone = stone[motifs[rng.integers(len(motifs))]][ring] * rng.normal(1, 0.11, 448)[piece][..., None]
            slant = 2.2 * (rng.normal(0, 1, 448)[piece] * a + rng.normal(0, 1, 448)[piece] * b)
            colour[at] = np.where(inside[..., None], tone, colour[at])
            edge[at] = np.where(inside, tile / u * (0.5 - np.maximum(np.abs(a), np.abs(b))), edge[at])
            tilt[at] = np.where(inside, slant, tilt[at])
    rough = fractal_noise(rng, (n, n), 16 * u, 1.1)
    cover = smoothstep(0.7, 1.5, edge + 0.3 * smooth_noise(rng, (n, n), 2 * u))[..., None]
    height = (np.clip(edge, 0, 3) * 1.2 + tilt + 0.22 * rough) * u
    lambert, highlight = light(gaussian_filter(height, 0.6 * u), 0.9, shine=40)
    body = colour * ((0.40 + 0.88 * lambert) * (1 + 0.05 * rough))[..., None] + 0.16 * highlight[..., None]
    grout = palette("#3b352f")[0] * (0.75 + 0.12 * rough)[..., None]
    return body * cover + grout * (1 - cover)
