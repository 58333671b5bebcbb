"""Landscapes: a horizon, light and air, mountains, hills, a lake or a meadow, a few houses and trees."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.noise import Array, box, fractal_noise, palette, ramp, sample, smooth_noise, smoothstep
from data.scene import Canvas, Mask, Scene


@dataclass(frozen=True)
class Weather:
    """The colours of one hour: sky from the zenith down, what air does to far things, direct light, cloud."""

    sky: str
    haze: str
    sun: str
    cloud: str


WEATHERS = [
    Weather("#2f6fb8 #6aa6dc #b9d9ec #e4eef0", "#b4cbdc", "#fff6e0", "#ffffff"),  # noon
    Weather("#4a6a9c #8fa3bd #e6c79a #f4b774", "#d8b08c", "#ffd490", "#fbe3c4"),  # golden hour
    Weather("#22264f #5a4377 #c3607a #f29a68", "#8c6684", "#ff9a5c", "#e08a86"),  # dusk
    Weather("#8893a0 #a4aeb8 #c2cad0 #d8dcdc", "#b6bec4", "#eceae4", "#e6e8ea"),  # overcast
    Weather("#5f86b4 #a8c4d8 #f0dcc8 #f8e4b8", "#c8d0d4", "#fff0c4", "#fff4e4"),  # morning
]


def landscape(rng: np.random.Generator, h: int, w: int) -> Scene:
    """Sky, sun, mountains in haze, hills, and a lake or a meadow with trees and houses."""
    canvas = Canvas(h, w)
    weather = WEATHERS[rng.integers(len(WEATHERS))]
    haze, sun = palette(weather.haze)[0], palette(weather.sun)[0]
    whole = np.s_[: canvas.h, : canvas.w]
    shape = (canvas.h, canvas.w)
    horizon = canvas.h * rng.uniform(0.42, 0.62)
    _paint_sky(rng, canvas, weather, horizon)

    rough, relief = fractal_noise(rng, shape, 40, 1.2), fractal_noise(rng, shape, 120, 1.9)
    slope = np.gradient(relief, axis=1)
    slope = slope / slope.std()
    rock = palette("#5b5f6a #6f6a62 #4e5a56")[rng.integers(3)]
    grass = palette("#5f7a34 #7d8a3c #4c6e3a #96884a")[rng.integers(4)]
    mountains, hills = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    crest = np.full(canvas.w, horizon)
    for i in range(mountains + hills):  # from far to near
        near = (i + 1) / (mountains + hills + 1)
        is_mountain = i < mountains
        jag = _skyline(rng, canvas.w, 0.5 * canvas.w, rng.uniform(1.35, 1.7) if is_mountain else 2.2)
        base = horizon + canvas.h * (0.20 * near - 0.06)
        crest = base - canvas.h * (0.13 * (1 - 0.55 * near) if is_mountain else 0.035) * (jag + 0.9)
        depth = canvas.y - crest  # pixels below the crest
        body = (rock if is_mountain else grass) * rng.normal(1, 0.05, 3)
        lit = body * (0.72 + (0.20 if is_mountain else 0.07) * slope + 0.10 * rough)[..., None] * (0.55 + 0.5 * sun)
        if is_mountain and weather is not WEATHERS[2]:
            snow = smoothstep(0.05, -0.02, depth / canvas.h + 0.02 * rough + 0.03 * (1.1 - jag))
            lit = lit + (0.55 * snow * smoothstep(-1.2, 0.6, slope))[..., None]
        air = np.clip(0.85 * (1 - near) ** 1.2 + 0.20 * depth / canvas.h, 0, 1)[..., None]
        canvas.paint("mountain" if is_mountain else "hill", whole, depth > 0, lit * (1 - air) + haze * air)
        if not is_mountain:
            _plant(rng, canvas, crest, 0.05 + 0.07 * near, haze, sun, rough, 0.35 * (1 - near))

    shore = crest.max() + canvas.h * 0.06
    if rng.random() < 0.6 and shore < 0.86 * canvas.h:
        _paint_water(rng, canvas, shore, haze)
        bank = canvas.h * rng.uniform(0.93, 1.02) - canvas.h * 0.03 * _skyline(rng, canvas.w, canvas.w, 1.8)
    else:
        bank = shore + canvas.h * (0.05 + 0.02 * _skyline(rng, canvas.w, canvas.w, 2.0))
    tufts = smooth_noise(rng, shape, 3.5, 1.0)
    depth = (canvas.y - bank) / canvas.h
    meadow = grass * (0.80 + 0.16 * tufts + 0.10 * rough - 0.4 * depth)[..., None] * (0.5 + 0.5 * sun)
    if (depth > 0).any():
        flowers = smoothstep(2.2, 2.6, smooth_noise(rng, shape, 1.4)) * (depth > 0.03)
        meadow += flowers[..., None] * (palette("#f4d04a #e8e4f0 #d8503c")[rng.integers(3)] - meadow)
        canvas.paint("hill", whole, depth > 0, meadow)
    _plant(rng, canvas, bank, rng.uniform(0.18, 0.40), haze, sun, rough, 0.0)
    return canvas.finish(rng)


def _skyline(rng: np.random.Generator, w: int, coarsest: float, exponent: float) -> Array:
    """A ridge line: `(w,)` of noise at mean 0 and standard deviation 1, not the same at both ends."""
    line = fractal_noise(rng, (1, 2 * w), coarsest, exponent)[0, :w]
    return (line - line.mean()) / (line.std() + 1e-6)


def _paint_sky(rng: np.random.Generator, canvas: Canvas, weather: Weather, horizon: float) -> None:
    shape = (canvas.h, canvas.w)
    canvas.colour[:] = ramp(palette(weather.sky), canvas.y / horizon)
    cy, cx = horizon * rng.uniform(0.15, 0.85), canvas.w * rng.uniform(0.1, 0.9)
    distance = np.hypot(canvas.y - cy, canvas.x - cx) / canvas.h
    sun = palette(weather.sun)[0]
    canvas.colour += (0.45 * np.exp(-distance / 0.13))[..., None] * sun
    if rng.random() < 0.75:
        canvas.paint(
            "sun", np.s_[: canvas.h, : canvas.w], distance < rng.uniform(0.025, 0.05), sun * 1.03 + 0 * canvas.colour
        )
    # Clouds lie on a plane overhead, so they shrink and crowd towards the horizon.
    away = 1 / np.maximum(1.15 - canvas.y / horizon, 0.12)
    sheet = fractal_noise(rng, shape, 130, 1.45)
    density = sample(sheet, away * 90, (canvas.x - canvas.w / 2) * away * 0.55)
    towards_sun = sample(sheet, away * 90 + 6, (canvas.x - canvas.w / 2) * away * 0.55)
    threshold = rng.uniform(-0.4, 1.1)
    cover = (smoothstep(threshold, threshold + 1.3, density) * 0.9)[..., None]
    tone = (
        palette(weather.cloud)[0]
        * (0.90 + 0.16 * np.clip(density - towards_sun, -1.2, 0.8) - 0.05 * cover[..., 0])[..., None]
    )
    canvas.colour = canvas.colour * (1 - cover) + tone * cover


def _paint_water(rng: np.random.Generator, canvas: Canvas, shore: float, haze: Array) -> None:
    """A lake that mirrors what stands above its shore line, with ripples that grow towards the viewer."""
    at = np.s_[int(shore) :, : canvas.w]
    below = canvas.y[at] - int(shore)
    ripple = smooth_noise(rng, below.shape, 2.2, 26) + 0.6 * smooth_noise(rng, below.shape, 1.2, 9)
    amount = 1 + 10 * below / canvas.h
    row = np.clip(int(shore) - 1 - below * 1.05 + ripple * amount, 0, int(shore) - 1)
    column = canvas.x[at] + ripple * amount * 0.3
    mirror = np.stack([sample(canvas.colour[..., c], row, column) for c in range(3)], axis=-1)
    deep = palette("#1d3a48")[0] * 0.5 + haze * 0.25
    clear = np.clip(0.80 - 0.55 * below / canvas.h, 0, 1)[..., None]
    canvas.paint("water", at, below >= 0, mirror * clear + deep * (1 - clear) + (0.025 * ripple)[..., None])


def _plant(
    rng: np.random.Generator,
    canvas: Canvas,
    ground: Array,
    size: float,
    haze: Array,
    sun: Array,
    rough: Array,
    air: float,
) -> None:
    """Trees and houses along a ground line `(w,)`, about `size` picture heights tall, seen through `air` of haze."""
    count = int(rng.integers(2, 5 + int(0.6 / size)))
    conifers = rng.random() < 0.5
    spots = sorted((rng.uniform(0, 0.35 * size), rng.uniform(0, canvas.w)) for _ in range(count))
    for drop, cx in spots:  # the higher on the slope, the farther
        foot = float(ground[int(cx) % canvas.w]) + drop * canvas.h
        tall = size * canvas.h * rng.uniform(0.6, 1.2)
        draw: Callable[..., tuple[Mask, Array]] = (
            _house if rng.random() < 0.22 else (_conifer if conifers else _broadleaf)
        )
        at = box(foot - tall / 2, cx, 1.1 * tall, canvas.labels.shape)
        up, dx = (foot - canvas.y[at]) / tall, (canvas.x[at] - cx) / tall  # in heights of the object
        if not up.size or foot > 1.1 * canvas.h:
            continue
        if draw is _house:
            up, dx = up * 1.5, dx * 1.5
        mask, colour = draw(rng, up, dx, rough[at])
        if not mask.any():
            continue
        ground_shadow = np.exp(-((up / 0.05) ** 2) - ((dx - 0.15) / 0.35) ** 2)
        canvas.colour[at] *= 1 - 0.4 * ground_shadow[..., None]
        lit = colour * (0.55 + 0.5 * sun)
        canvas.paint("house" if draw is _house else "tree", at, mask, lit * (1 - air) + haze * air)


def _conifer(rng: np.random.Generator, up: Array, dx: Array, rough: Array) -> tuple[Mask, Array]:
    tiers = rng.uniform(5, 8)
    width = 0.26 * (1 - up) * (0.62 + 0.5 * ((1 - up) * tiers % 1)) + 0.014 * rough
    crown = (up > 0.10) & (np.abs(dx) < width)
    trunk = (up >= 0) & (up <= 0.12) & (np.abs(dx) < 0.025)
    green = palette("#1f3a2a #2c4a2c #38503a")[rng.integers(3)]
    tone = 0.9 + 0.22 * rough - 1.3 * dx - 0.35 * ((1 - up) * tiers % 1)
    return crown | trunk, np.where(crown[..., None], green * tone[..., None], palette("#3c2c22")[0])


def _broadleaf(rng: np.random.Generator, up: Array, dx: Array, rough: Array) -> tuple[Mask, Array]:
    crown, tone = np.zeros(up.shape, bool), np.zeros(up.shape, np.float32)
    for _ in range(7):  # clumps of leaves, the nearer ones last
        cy, cx, r = rng.uniform(0.45, 0.78), rng.uniform(-0.2, 0.2), rng.uniform(0.14, 0.24)
        distance = np.hypot(up - cy, dx - cx) / r
        clump = distance + 0.16 * rough < 1
        crown |= clump
        tone = np.where(clump, 0.92 + 0.30 * (up - cy) / r - 0.25 * (dx - cx) / r + 0.20 * rough, tone)
    trunk = (up >= 0) & (up < 0.6) & (np.abs(dx) < 0.03 + 0.02 * np.exp(-up * 12)) & ~crown
    leaf = palette("#41602a #5c7a30 #7a7c30 #b07a2c #a8502a")[rng.choice(5, p=[0.35, 0.3, 0.15, 0.12, 0.08])]
    return crown | trunk, np.where(crown[..., None], leaf * tone[..., None], palette("#4a3628")[0])


def _house(rng: np.random.Generator, up: Array, dx: Array, rough: Array) -> tuple[Mask, Array]:
    wall = palette("#e4dac4 #c98f6a #b8b4a8 #d8b07a #8e4638")[rng.integers(5)]
    tiles = palette("#7c3a2a #4a4648 #94583a")[rng.integers(3)]
    half = rng.uniform(0.38, 0.55)
    walls = (up >= 0) & (up < 0.55) & (np.abs(dx) < half)
    roof = (up >= 0.52) & (up < 0.95) & (np.abs(dx) < half * 1.15 * (1 - 0.75 * (up - 0.52) / 0.43))
    chimney = (up >= 0.8) & (up < 1.05) & (np.abs(dx - 0.45 * half) < 0.05)
    shade = (1 + 0.05 * rough - 0.16 * (dx > 0.25 * half))[..., None]  # a corner turned away from the light
    colour = wall * shade * np.ones((*up.shape, 3), np.float32)
    panes = (np.abs((dx / half * 2.0) % 1 - 0.5) < 0.2) & (np.abs(up - 0.34) < 0.08)
    door = (np.abs(dx + 0.1 * half) < 0.06) & (up < 0.26)
    colour = np.where((panes | door)[..., None], palette("#2c3440")[0], colour)
    courses = (1 + 0.12 * np.sin(up * 90) + 0.08 * rough)[..., None]
    colour = np.where(roof[..., None], tiles * courses, colour)
    colour = np.where((chimney & ~roof)[..., None], tiles * 0.8, colour)
    return walls | roof | chimney, colour
