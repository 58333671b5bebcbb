"""Pictures through one trained generator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from texturenet import blending, checkpoint, images, pages, pixels, styles, tiles
from texturenet.config import MOST_NOISE
from texturenet.devices import find_device, out_of_memory, place, resolve_precision, room_left
from texturenet.files import is_plain_name
from texturenet.generators import Network, Pyramid, Residual, make_noise
from texturenet.onnx_style import OnnxStyle
from texturenet.rows import Rows

Kind = TypeVar("Kind", Image.Image, Tensor)
# Peak memory of one float32 pass, in maps of the last layer's size: measured 6.5 for the pyramid (1.2 kB a pixel) and
# 7.9 for the residual network (1.0 kB), at 1024 and 2048 px.
_MAPS_ALIVE = 8


class OnnxNetwork:
    """An ONNX file's network where a generator is expected: tensors on the CPU in, a tensor out."""

    def __init__(self, style: OnnxStyle) -> None:
        self._style = style
        self.content, self.noise_channels, self.channels = style.content, style.noise_channels, style.channels
        self.noise_shapes = style.noise_shapes

    def __call__(self, photo: Tensor | None, noise: Sequence[Tensor]) -> Tensor:
        arrays = [level.numpy() for level in noise]
        return torch.from_numpy(self._style(None if photo is None else photo.numpy(), arrays))


class Stylizer:
    """One style, loaded from its file alone.

    style       a checkpoint of `train.py`, an ONNX file of `python -m texturenet.export`, or the name of a style that
                ships
    device      where to run; an ONNX file runs on the CPU
    max_memory  bytes that this process may hold on the device; None: nine tenths of what is free. A picture that takes
                more is painted by computing parts of the network several times (see tiles.py), the same to 1e-5
                (in bf16 to its rounding), and one line on stderr says so
    precision   "auto", "fp32", "bf16" or "fp16": what convolutions compute in; see `devices.resolve_precision`. The
                picture of a style that ships differs by less than 1/255 on average. An ONNX file has its own
    finish      what is done to a painting before strength, colours and masks: (photo, painting) -> painting, tensors
                (1, 3, H, W) at the size that is painted at; see `refining.Refiner`
    Raises ValueError, one line, for a file that is none, for a name that does not ship, and for a device that is not
    there.
    """

    def __init__(
        self,
        style: Path | str,
        device: torch.device | str = "cpu",
        *,
        max_memory: int | None = None,
        precision: str = "auto",
        finish: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        path = styles.find(style) if isinstance(style, str) else style
        self.max_memory, self._finish = max_memory, finish
        self._said: set[str] = set()
        self._noise: tuple[object, list[Tensor]] = (None, [])  # the last, and what it is of
        self.generator: Network
        self.recipe: dict[str, object]
        if path.suffix == ".onnx":
            network = OnnxStyle(path)
            self.device = torch.device("cpu")
            if (asked := torch.device(device).type) != "cpu":
                print(f"{path} runs on the CPU; its checkpoint would run on {asked}", file=sys.stderr)
            self.name, self.recipe, self.trained_noise_factor = network.name, network.recipe, network.noise_factor
            self.generator, self._dtype = OnnxNetwork(network), torch.float32
        else:
            self.device = find_device(str(device))
            fields = checkpoint.load(path)
            self.name, self.recipe = fields["name"], fields["recipe"]
            self.trained_noise_factor = float(fields["recipe"]["noise_factor"])
            generator = checkpoint.build_generator(fields)
            self._dtype = resolve_precision(precision, self.device, painting=True)
            if precision == "fp16" and self._dtype == torch.float16 and self.device.type == "cpu":
                self._say_once("a CPU paints in bf16 where fp16 is asked for")
            elif precision in ("bf16", "fp16") and self.device.type == "mps":
                self._say_once(f"mps paints in fp32 where {precision} is asked for")
            if self.device.type == "cpu" and self._dtype != torch.float32:
                tiles.to_bf16(generator)
            self.generator = place(generator, self.device)
        if not is_plain_name(self.name):  # results are called after it
            raise ValueError(f"{path} calls its style {self.name!r}, which is no name for a file; it is not loaded")

    @property
    def paints_photos(self) -> bool:
        """Whether it stylizes photos; else it synthesises its texture."""
        return self.generator.content

    def __call__(
        self,
        photo: Kind,
        seed: int = 0,
        noise_factor: float | None = None,
        *,
        strength: float = 1.0,
        preserve_color: str | None = None,
        work_size: int | None = None,
        mask: Image.Image | Tensor | None = None,
    ) -> Kind:
        """Stylize a PIL picture, or a tensor (1, 3, H, W) in [0, 1] on any device, into the same kind, size and place.

        seed            of the noise; the same seed gives the same picture
        noise_factor    None: as in training
        strength        0: the photo, 1: the painting
        preserve_color  "luma": the photo's chroma under the painting's luma; "hist": the photo's palette; None: neither
        work_size       longer side to paint at, px; the smaller, the coarser the strokes; None: the photo's own
        mask            where to paint, of the photo's aspect: PIL picture (white), or tensor (1, 1, h, w) (1)
        Nothing of the style changes in a call: threads may share it. Raises TypeError for what is no picture, and
        ValueError for one under 16 px or over what memory holds, for a value outside these, and where the style makes
        a texture of its own.
        """
        self._require(seed, noise_factor)
        if not self.paints_photos:
            raise ValueError(f"{self.name} makes a texture and takes no photo; call `synthesize`")
        if not isinstance(photo, Image.Image | Tensor):
            raise TypeError(f"give a PIL picture, or a tensor (1, 3, H, W) in [0, 1], and no {type(photo).__name__}")
        if isinstance(photo, Tensor) and not (photo.shape[:-2] == (1, 3) and photo.is_floating_point()):
            raise ValueError(f"a tensor {tuple(photo.shape)} of {photo.dtype}: give (1, 3, H, W), floats in [0, 1]")
        if isinstance(photo, Image.Image) and photo.mode != "RGB":
            photo = pixels.flatten(photo)
        marked = None if mask is None else self._marked(mask)
        plain = marked is None and (strength, preserve_color, work_size, self._finish) == (1, None, None, None)
        if isinstance(photo, Image.Image) and plain:
            return self._run_in_8_bits(photo, seed, noise_factor)

        def paint(image: Tensor) -> Tensor:
            painting = self._run(image, image.shape[-2], image.shape[-1], seed, noise_factor)
            return painting if self._finish is None else self._finish(image, painting)

        values = images.to_tensor(photo) if isinstance(photo, Image.Image) else photo.float()
        painting = blending.paint_with(
            paint,
            values,
            strength=strength,
            preserve_color=preserve_color,
            work_size=work_size,
            mask=None if marked is None else marked.to(values.device),
        )
        return images.to_pil(painting) if isinstance(photo, Image.Image) else painting.to(photo.dtype)

    def synthesize(self, height: int, width: int, seed: int = 0, noise_factor: float | None = None) -> Tensor:
        """A picture (1, 3, height, width) of the texture itself; from a checkpoint that was trained without photos.

        Raises ValueError for another style, a size that is none or does not fit the memory, and values outside these.
        """
        self._require(seed, noise_factor)
        if self.paints_photos:
            raise ValueError(f"{self.name} paints photos and makes no texture alone; call it with a photo")
        if min(height, width) < 1:
            raise ValueError(f"a texture of {width}x{height} px: give 1 px or more")
        return self._run(None, height, width, seed, noise_factor)

    def _marked(self, mask: Image.Image | Tensor) -> Tensor:
        """The mask in [0, 1], (1, 1, h, w)."""
        if isinstance(mask, Image.Image):
            return images.to_mask(*pixels.layers(mask), self._say_once)
        if not isinstance(mask, Tensor):
            raise TypeError(
                f"mask: give a PIL picture, or a tensor (1, 1, h, w) in [0, 1], and no {type(mask).__name__}"
            )
        mask = mask.float()
        if mask.ndim != 4 or mask.shape[:2] != (1, 1) or not mask.numel():
            raise ValueError(f"a mask {tuple(mask.shape)}: give (1, 1, h, w)")
        if not (mask.min() >= 0 and mask.max() <= 1):
            raise ValueError(f"a mask from {mask.min():g} to {mask.max():g}: give values in [0, 1]")
        return mask

    def _require(self, seed: int, noise_factor: float | None) -> None:
        if seed < 0:
            raise ValueError(f"seed {seed}: give 0 or more")
        if noise_factor is not None and not 0 <= noise_factor < MOST_NOISE:
            raise ValueError(f"noise_factor {noise_factor:g}: give 0 to 2")

    def _run(self, photo: Tensor | None, height: int, width: int, seed: int, noise_factor: float | None) -> Tensor:
        """The painting (1, 3, height, width) of a photo, on its device, or the texture."""
        try:
            result = torch.empty((1, 3, height, width), device=None if photo is None else photo.device)
        except (MemoryError, RuntimeError) as error:
            raise ValueError(f"a picture of {width}x{height} px does not fit the memory: {error}") from None
        rows = None if photo is None else lambda first, last: photo[..., first:last, :]
        for first, strip in self._painted(rows, height, width, seed, noise_factor):
            result[..., first : first + strip.shape[-2], :] = strip
        return result

    def _run_in_8_bits(self, photo: Image.Image, seed: int, noise_factor: float | None) -> Image.Image:
        """The same from picture to picture: a huge one is at no time a tensor as a whole."""
        result = Image.new("RGB", photo.size)

        def rows(first: int, last: int) -> Tensor:
            return images.to_tensor(photo.crop((0, first, photo.width, last)), self.device)

        for first, strip in self._painted(rows, photo.height, photo.width, seed, noise_factor):
            result.paste(images.to_pil(strip), (0, first))
        return result

    @torch.inference_mode()
    def _painted(
        self, photo: Rows | None, height: int, width: int, seed: int, noise_factor: float | None
    ) -> Iterator[tuple[int, Tensor]]:
        """The painting from the top, (first row, (1, 3, h, width)), in one piece or in strips.

        photo  its rows in [0, 1]; None for the texture
        """
        factor = self.trained_noise_factor if noise_factor is None else noise_factor
        picture, trouble = None, "" if self._holds(height, width) else "memory is short"
        if not trouble and not self._always_in_strips:
            try:
                picture = self._in_one_piece(photo, height, width, seed, factor)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self._noise = (None, [])
                trouble = f"{self.device} ran out of memory"
        if picture is not None:
            strips = iter([(0, picture)])
        else:  # here and not above: until `except` is left, its traceback holds all that filled the memory
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            room = self._room_for_strips(height, width)
            assert isinstance(self.generator, Pyramid | Residual)
            if trouble:
                self._say_once(f"{width}x{height} px: {trouble}; painting in strips, which takes longer")
            strips = tiles.paint(self.generator, photo, height, width, seed, factor, room)
        try:
            for first, strip in strips:
                if not strip.sum().isfinite():  # nothing above 1 that could overflow
                    if photo is not None and not photo(0, height).sum().isfinite():
                        raise ValueError("the photo has values that are no numbers, or infinite: give them in [0, 1]")
                    raise ValueError(
                        f"style {self.name!r} gives no finite picture: its weights are damaged; train it again"
                    )
                yield first, strip.float()
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise ValueError(
                f"{self.device} ran out of memory even in strips of {width}x{height} px: other programs fill it; "
                "end them, or paint on the CPU with --cpu"
            ) from None

    @property
    def _always_in_strips(self) -> bool:
        """A CPU is faster in strips."""
        return self.device.type == "cpu" and isinstance(self.generator, Pyramid | Residual)

    def _in_one_piece(self, photo: Rows | None, height: int, width: int, seed: int, noise_factor: float) -> Tensor:
        # A folder's pictures and a clip's frames have one seed, and noise for 1080p takes 30 ms to draw.
        of = (height, width, seed, noise_factor)
        drawn_for, noise = self._noise
        if drawn_for != of:
            noise = make_noise(self.generator, 1, height, width, seed, noise_factor, self.device)
            self._noise = (of, noise)
        values = None if photo is None else photo(0, height).to(self.device)

        def painted() -> Tensor:
            with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
                return self.generator(values, noise)

        picture = painted()
        if self._dtype == torch.float16 and not picture.sum().isfinite():
            self._say_once(f"{self.name}: its values are beyond what float16 holds; painting in float32")
            self._dtype = torch.float32
            picture = painted()
        return picture[..., :height, :width]  # a texture comes at the size of its noise

    def _full_memory(self, height: int, width: int) -> int:
        """Bytes that a pass takes at full speed."""
        if self._always_in_strips:
            return 3 * 4 * height * width + tiles.full_memory(self.generator.channels, height, width)
        return _MAPS_ALIVE * self.generator.channels * height * width * 4

    def _holds(self, height: int, width: int) -> bool:
        """Whether memory suffices for a pass at full speed."""
        room = room_left(self.device, self.max_memory)
        if room is not None and self._full_memory(height, width) > room:
            pages.SHARED.clear()  # of pictures before, as is the noise
            self._noise = (None, [])
            room = room_left(self.device, self.max_memory)
        return room is None or self._full_memory(height, width) <= room

    def _room_for_strips(self, height: int, width: int) -> int:
        """Bytes for `tiles.paint`, beside the result. Raises ValueError where they are too few."""
        in_strips = isinstance(self.generator, Pyramid | Residual)  # an ONNX file runs in one piece or not at all
        result = 3 * 4 * height * width
        if in_strips:
            needed = result + tiles.least_memory(self.generator.channels, width)
        else:
            needed = self._full_memory(height, width)
        room = room_left(self.device, self.max_memory)
        if room is None and in_strips:
            return max(2 * needed, self._full_memory(height, width))
        if not in_strips or room is None or room < needed:
            left = "" if room is None else f" and {max(room, 0) / 2**30:.1f} GB are left on {self.device}"
            raise ValueError(
                f"a picture of {width}x{height} px takes at least {needed / 2**30:.1f} GB{left}; "
                f"ask for a smaller result with --size, or allow more with --max_memory"
            )
        return room - result

    def _say_once(self, line: str) -> None:
        """To stderr; once, since a clip has thousands of frames of one size."""
        if line not in self._said:
            self._said.add(line)
            print(line, file=sys.stderr)
