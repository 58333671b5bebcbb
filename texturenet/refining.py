"""A few iterations of the reference on a painting: `stylize.py --refine N`, and "Refine" in the web page.

Both halves of the field in one picture. One pass of the styles that ship closes 95 to 98 % of the gap between the
photo's loss and that of 100 iterations of L-BFGS from it (Gatys et al. 2016); what is missing is a little of its own in
every photo (docs/experiments.md), which weights found for all photos don't have and a few iterations from the painting
find. The price is a perceptual network's pass there and back for each of them, and its memory.
"""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from texturenet import gatys, pages
from texturenet.devices import room_left
from texturenet.losses import PerceptualLoss
from texturenet.perceptual import Encoder
from texturenet.presets import GatysRecipe

_PROBE = 64  # px
# Peak memory of an iteration over the bytes of all that the encoder computes for a picture: measured 1.7 with lite at
# 512 and 768 px. To it comes L-BFGS's history, two pictures an iteration.
_FEATURES_ALIVE = 1.8
_GRAIN = 16  # px, that a proposed size is rounded to


class Refiner:
    """Goes down a style's own loss from its painting of a photo, by so many iterations of L-BFGS.

    loss        the one that the style was trained with, of this encoder
    iterations  1 or more
    max_memory  bytes that this process may hold on the loss's device; None: nine tenths of what is free
    watch       called with the painting and after each iteration, in place of a progress bar; it stops the refining as
                Ctrl-C does, by KeyboardInterrupt
    Called with a photo and its painting, (1, 3, H, W) in [0, 1], it returns a painting of that shape, where the
    painting was; on Ctrl-C what it has come to, and `stopped` is True from then on, for the caller to end when that is
    saved. Raises ValueError for a picture that the memory does not hold, with a size that it does.
    """

    def __init__(
        self,
        loss: PerceptualLoss,
        encoder: Encoder,
        iterations: int,
        max_memory: int | None = None,
        watch: gatys.OnIterate | None = None,
    ) -> None:
        self.loss, self.max_memory, self._watch = loss, max_memory, watch
        self.recipe = GatysRecipe(iterations=iterations)
        self.stopped = False
        self.device = next(iter(loss.targets.values())).device
        with torch.no_grad():
            probe = torch.zeros(1, 3, _PROBE, _PROBE, device=self.device)
            values = sum(features.numel() for features in encoder(probe, encoder.layers).values())
        history = 2 * 3 * min(iterations, self.recipe.options["history_size"])
        self.bytes_a_pixel = 4 * (_FEATURES_ALIVE * values / _PROBE**2 + history)

    def __call__(self, photo: Tensor, painting: Tensor) -> Tensor:
        self._require_memory(*photo.shape[-2:])
        with torch.inference_mode(False), torch.no_grad():
            content = self.loss.content_features(photo.to(self.device, copy=True))
            start = painting.to(self.device, copy=True)
            with tqdm(
                total=self.recipe.iterations,
                desc="refining",
                unit="it",
                leave=False,
                dynamic_ncols=True,
                disable=self._watch is not None,
            ) as bar:

                def tick(iterate: gatys.Iterate) -> None:
                    bar.set_postfix_str(f"loss {iterate.losses['total']:.4g}", refresh=False)
                    bar.update(iterate.iteration - bar.n)

                try:
                    refined = gatys.descend(self.loss, start, content, self.recipe, self._watch or tick)
                except gatys.Interrupted as stop:
                    refined, self.stopped = stop.image, True
        return refined.to(painting.device)

    def _require_memory(self, height: int, width: int) -> None:
        left, needed = room_left(self.device, self.max_memory), self.bytes_a_pixel * height * width
        if left is not None and needed > left:
            pages.SHARED.clear()  # what the pass before keeps for the next one
            left = room_left(self.device, self.max_memory)
        if left is not None and needed > left:
            fits = int(max(height, width) * (max(left, 0) / needed) ** 0.5) // _GRAIN * _GRAIN
            raise ValueError(
                f"refining a picture of {width}x{height} px takes {needed / 2**30:.1f} GB and "
                f"{max(left, 0) / 2**30:.1f} GB are left on {self.device}; paint "
                + (f"at {fits} px, which fit (--work_size {fits}), or " if fits >= _GRAIN else "")
                + "without refining"
            )
