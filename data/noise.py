"""Noise, Voronoi cells, light and colour: what both the textures and the scenes are drawn with.

Arrays are float32 `(H, W)` or `(H, W, 3)`, RGB in [0, 1]. All randomness comes from the generator that is passed in,
and everything wraps around at the borders, so that what is made of it alone tiles.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

Array = NDArray[np.float32]


def _spectral(rng: np.random.Generator, shape: tuple[int, int], gain: NDArray[np.floating]) -> Array:
    """White noise filtered by `gain` over the frequencies of `rfft2`, at mean 0 and standard deviation 1."""
    spectrum = fft.rfft2(rng.standard_normal(shape, dtype=np.float32)) * gain.astype(np.float32)
    spectrum[0, 0] = 0
    field = fft.irfft2(spectrum, s=shape)
    return np.asarray(field / (field.std() + 1e-12), dtype=np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float, sigma_x: float = 0) -> Array:
    """Soft blobs of one scale: white noise under a Gaussian of `sigma` pixels (`sigma_x` across, if it differs)."""
    fy, fx = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]
    return _spectral(rng, shape, np.exp(-2 * np.pi**2 * ((sigma * fy) ** 2 + ((sigma_x or sigma) * fx) ** 2)))


def fractal_noise(rng: np.random.Generator, shape: tuple[int, int], coarsest: float, exponent: float = 1.6) -> Array:
    """Structure at every scale below `coarsest` pixels, amplitude 1 / f^exponent (natural pictures: about 1)."""
    f = np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :])
    return _spectral(rng, shape, np.maximum(f, 1 / coarsest) ** -exponent)


def sample(field: NDArray[np.floating], y: NDArray[np.floating], x: NDArray[np.floating]) -> Array:
    """`field` read at the pixel positions `y`, `x`, bilinear, wrapping around."""
    return np.asarray(map_coordinates(field, [y, x], order=1, mode="grid-wrap"), dtype=np.float32)


def jittered_seeds(rng: np.random.Generator, n: int, spacing: float, jitter: float = 0.8) -> NDArray[np.float64]:
    """Points `(N, 2)` as y, x on an n x n torus: a staggered grid about `spacing` pixels wide, each point moved."""
    count = max(2, 2 * round(n / spacing / 2))  # even, or the stagger would not wrap around
    step = n / count
    rows, cols = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    grid = np.stack([rows + 0.5, cols + 0.25 + 0.5 * (rows % 2)], axis=-1).reshape(-1, 2)
    return (grid + jitter * rng.uniform(-0.5, 0.5, grid.shape)) * step % n


def voronoi(
    seeds: NDArray[np.float64], y: Array, x: Array, n: int, rounding: float = 0
) -> tuple[NDArray[np.intp], Array]:
    """The nearest seed of each position and the distance in pixels to its cell's border, on an n x n torus.

    With `rounding` (pixels) the distance is a soft minimum over the borders, which rounds the corners off.
    """
    k = 6 if rounding else 4
    positions = np.stack([y, x], axis=-1) % n
    distance, index = cKDTree(seeds, boxsize=n).query(positions, k=k)
    first = seeds[index[..., 0]]
    borders = []
    for j in range(1, k):
        gap = (seeds[index[..., j]] - first + n / 2) % n - n / 2
        # The border between two seeds is their bisector, so this is a true distance and the lines keep their width.
        numerator = distance[..., j] ** 2 - distance[..., 0] ** 2
        borders.append(numerator / (2 * np.hypot(gap[..., 0], gap[..., 1]) + 1e-9))
    stack = np.stack(borders)
    border = stack.min(axis=0)
    if rounding:
        border = border - rounding * np.log(np.exp((border - stack) / rounding).sum(axis=0))
    return index[..., 0], border.astype(np.float32)


def grid(n: int) -> tuple[Array, Array]:
    """Pixel coordinates y, x of an n x n canvas."""
    y, x = np.mgrid[:n, :n].astype(np.float32)
    return y, x


def box(cy: float, cx: float, reach: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The part of a canvas within `reach` pixels of a centre; empty where the two don't meet."""
    top, left = np.clip([cy - reach, cx - reach], 0, shape).astype(int)
    bottom, right = np.clip([cy + reach, cx + reach], 0, shape).astype(int)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def smoothstep(low: float, high: float, value: NDArray[np.floating]) -> Array:
    """0 below `low`, 1 above `high`, an S-curve between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def light(height: Array, steepness: float = 1.0, shine: float = 30.0) -> tuple[Array, Array]:
    """Lambert and highlight terms in [0, 1] of a height field (pixels) lit from the upper left."""
    dy = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) * (steepness / 2)
    dx = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) * (steepness / 2)
    norm = np.sqrt(dx * dx + dy * dy + 1)
    direction = np.array([0.5, 0.55, 0.67])  # up, left, towards the viewer
    half = direction + np.array([0, 0, 1])  # between the light and the viewer
    half /= np.linalg.norm(half)
    lambert = np.clip((direction[0] * dy + direction[1] * dx + direction[2]) / norm, 0, 1)
    highlight = np.clip((half[0] * dy + half[1] * dx + half[2]) / norm, 0, 1) ** shine
    return lambert.astype(np.float32), highlight.astype(np.float32)


def palette(colours: str) -> Array:
    """`"#102030 #ffffff"` as `(K, 3)` in [0, 1]."""
    return np.array([list(bytes.fromhex(c.lstrip("#"))) for c in colours.split()], dtype=np.float32) / 255


def ramp(colours: Array, t: NDArray[np.floating]) -> Array:
    """The palette read as a gradient: t in [0, 1] of any shape to that shape + (3,)."""
    position = np.clip(t, 0, 1) * (len(colours) - 1)
    low = np.minimum(position.astype(np.intp), len(colours) - 2)
    fraction = (position - low)[..., None]
    return np.asarray(colours[low] * (1 - fraction) + colours[low + 1] * fraction, dtype=np.float32)


def halve(picture: Array) -> Array:
    """Mean over 2 x 2 blocks, `(2H, 2W, 3)` to `(H, W, 3)`: canvases are drawn at twice the size against aliasing."""
    h, w = picture.shape[0] // 2, picture.shape[1] // 2
    return picture.reshape(h, 2, w, 2, -1).mean(axis=(1, 3), dtype=np.float32)


def to_bytes(picture: Array) -> NDArray[np.uint8]:
    """[0, 1] to 0..255, clipped."""
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
