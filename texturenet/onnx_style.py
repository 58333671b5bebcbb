"""A style as an ONNX file, run with numpy and onnxruntime: no torch, no generator code.

`python -m texturenet.export` writes such a file. The whole network is in it, padding and cropping too; what surrounds
it is the noise, which is an argument here as everywhere, and the file's metadata say of which shape:

    style = OnnxStyle("mosaic.onnx")
    picture = style(photo, style.make_noise(1, 480, 640, seed=0))  # photo: float32 (1, 3, 480, 640) in [0, 1]

The same seed gives the same picture as the checkpoint.

The file of a stranger is data, but data that computes: it can take time and memory like any network, and no more than
that. It is read whole, within a limit; it may refer to no other file and bring no operator of its own; what its
metadata claim is checked before anything is made of that size.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from texturenet.noise import draw_rows, padded_size

Array = npt.NDArray[np.float32]

FORMAT = "texturenet"
VERSION = "1"
MAX_BYTES = 256 * 2**20  # the widest style of ours takes 7 MB
MAX_LEVELS, MAX_CHANNELS, MAX_MULTIPLE = 12, 64, 2048  # of the noise


class OnnxStyleError(ValueError):
    """A file that is no style of ours, or whose network fails, in one line that names it."""


class OnnxStyle:
    """One style from its ONNX file; what a generator is to the `Stylizer`, with arrays for tensors.

    path    a file of `python -m texturenet.export`
    Raises OnnxStyleError for any other file, and where onnxruntime is missing. Threads may share it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._session = _open(self.path)
        try:
            properties = self._session.get_modelmeta().custom_metadata_map
            inputs = self._inputs = {item.name for item in self._session.get_inputs()}
            outputs = [item.name for item in self._session.get_outputs()]
        except UnicodeDecodeError:
            raise OnnxStyleError(f"{path}: its names or metadata are damaged; export it again") from None
        if properties.get("format") != FORMAT:
            raise OnnxStyleError(
                f"{path} is a network, but no style of texturenet; python -m texturenet.export makes one"
            )
        if properties.get("version") != VERSION:
            raise OnnxStyleError(
                f"{path} has format version {properties.get('version')}; this texturenet reads {VERSION}"
            )
        try:
            self.name = properties["name"]
            self.recipe: dict[str, Any] = json.loads(properties["recipe"])
            self.noise_factor = float(properties["noise_factor"])
            self.noise_channels = int(properties["noise_channels"])
            self.noise_multiple = int(properties["noise_multiple"])
            self.noise_levels = int(properties["noise_levels"])
            self.noise_scales = int(properties.get("noise_scales", self.noise_levels))  # absent from the first files
            self.channels = int(properties["channels"])
        except (KeyError, ValueError, RecursionError) as error:
            raise OnnxStyleError(f"{path}: its metadata are damaged ({error}); export it again") from None
        self.content = "photo" in inputs
        levels = range(min(self.noise_levels, MAX_LEVELS))
        heard = levels[-self.noise_scales :] if self.noise_scales and self.noise_channels else levels[:0]
        if (
            not isinstance(self.recipe, dict)
            or not {_noise(level) for level in heard} <= inputs - {"photo"} <= {_noise(level) for level in levels}
            or outputs != ["picture"]
            or not 1 <= self.noise_levels <= MAX_LEVELS
            or not 0 <= self.noise_scales <= self.noise_levels
            or not 0 <= self.noise_channels <= MAX_CHANNELS
            or not 1 <= self.noise_multiple <= MAX_MULTIPLE
            or not math.isfinite(self.noise_factor)
            or self.channels < 1
        ):
            raise OnnxStyleError(f"{path}: its metadata do not fit its network; export it again")

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(C, H, W) of each noise map for a picture of height x width, finest first; C is 0 where there is no noise.

        ValueError if the picture is too small.
        """
        h, w = padded_size(height, width, self.noise_multiple)
        silent = self.noise_levels - self.noise_scales
        return [
            (0 if level < silent else self.noise_channels, h >> level, w >> level) for level in range(self.noise_levels)
        ]

    def make_noise(
        self, batch_size: int, height: int, width: int, seed: int, noise_factor: float | None = None
    ) -> list[Array]:
        """Seeded noise for pictures of height x width, times noise_factor; None: as in training."""
        factor = np.float32(self.noise_factor if noise_factor is None else noise_factor)
        return [
            draw_rows(shape, level, 0, shape[1], seed, batch_size) * factor
            for level, shape in enumerate(self.noise_shapes(height, width))
        ]

    def __call__(self, photo: Array | None, noise: Sequence[Array]) -> Array:
        """photo (B, 3, H, W) in [0, 1], or None for a texture; noise as `noise_shapes` says, float32 -> (B, 3, H, W).

        Raises OnnxStyleError where the network fails, or gives anything else than a picture of the photo's size.
        """
        if self.content != (photo is not None):
            asked = "stylizes photos and was given none" if self.content else "synthesises a texture and takes no photo"
            raise ValueError(f"this generator {asked}")
        feeds = {_noise(level): values for level, values in enumerate(noise) if _noise(level) in self._inputs}
        if photo is not None:
            feeds["photo"] = photo
        try:
            (picture,) = self._session.run(["picture"], feeds)
        except Exception as error:  # onnxruntime's errors have no common class
            raise OnnxStyleError(f"{self.path}: its network failed: {_first_line(error)}") from None
        expected = (photo if photo is not None else noise[0]).shape
        if picture.dtype != np.float32 or picture.shape != (expected[0], 3, *expected[2:]):
            raise OnnxStyleError(f"{self.path} gives {picture.dtype} of shape {picture.shape}, which is no picture")
        result: Array = picture
        return result


def _open(path: Path) -> Any:
    """An onnxruntime session of the file."""
    try:
        import onnxruntime
    except ImportError:
        raise OnnxStyleError(f"{path} runs on onnxruntime, which is not installed: pip install onnxruntime") from None
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise OnnxStyleError(
            f"no style at {path}; make one with python -m texturenet.export, or check the path"
        ) from None
    except OSError as error:
        raise OnnxStyleError(f"can't read {path}: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise OnnxStyleError(f"{path} is over {MAX_BYTES // 2**20} MB, which no style is")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    # Where weights in other files would be looked for: nowhere.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class
        if "External data" in str(error):
            raise OnnxStyleError(
                f"{path} keeps its weights in other files, which are not read; export it again"
            ) from None
        raise OnnxStyleError(f"{path} is no ONNX network, or a damaged one: {_first_line(error)}") from None


def _noise(level: int) -> str:
    """The name of that input."""
    return f"noise_{level}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].removeprefix("[ONNXRuntimeError] : ")[:160]
