"""Styles of pytorch/examples as checkpoints of ours:

python -m texturenet.convert candy.pth -o checkpoints/candy.pt

The network of pytorch/examples/fast_neural_style is Johnson's with instance norm and enlarge-then-convolve, which is
`Residual` with three differences, all of them exact:
* It takes 0..255 and gives 0..255. The first convolution is multiplied by 255, the last one divided. That ours sees the
  photo less 1/2 adds a constant to each map of the first convolution (its padding reflects, so at the edge too), which
  the instance norm after it subtracts.
* For the same reason the biases before a norm change nothing, and are left out.
* The statistics that files from before torch 0.4 hold for each instance norm were never used in painting.
A picture whose sides are no multiples of 4 comes back larger from that network; ours continues it by reflection first,
and crops; the instance norms see another picture then, and so the whole result differs a little.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from texturenet import program
from texturenet.config import filled

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = {"noise_channels": 0, "slope": 0.0, "direct": True}  # of Residual
UNUSED = re.compile(r"running_mean|running_var|num_batches_tracked")

# Ours -> theirs, of each convolution with its norm.
LAYERS = {f"enter.{i}": (f"conv{i + 1}.conv2d", f"in{i + 1}") for i in range(3)}
for block in range(5):
    LAYERS[f"blocks.{block}.0"] = (f"res{block + 1}.conv1.conv2d", f"res{block + 1}.in1")
    LAYERS[f"blocks.{block}.1"] = (f"res{block + 1}.conv2.conv2d", f"res{block + 1}.in2")
LAYERS |= {f"leave.{i}": (f"deconv{i + 1}.conv2d", f"in{i + 4}") for i in range(2)}
FIRST, LAST = "conv1.conv2d", "deconv3.conv2d"


def convert(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a TransformerNet as those of `Residual(**OPTIONS)`. Raises KeyError for another network's."""
    theirs = {name: value.float() for name, value in theirs.items() if not UNUSED.search(name)}
    ours = {}
    for layer, (convolution, norm) in LAYERS.items():
        ours[f"{layer}.0.weight"] = theirs.pop(f"{convolution}.weight") * (255 if convolution == FIRST else 1)
        theirs.pop(f"{convolution}.bias")
        for kind in ("weight", "bias"):
            ours[f"{layer}.1.{kind}"] = theirs.pop(f"{norm}.{kind}")
    for kind in ("weight", "bias"):
        ours[f"to_rgb.{kind}"] = theirs.pop(f"{LAST}.{kind}") / 255
    if theirs:
        raise KeyError(next(iter(theirs)))
    return ours


def convert_file(source: Path, target: Path) -> None:
    """Write a TransformerNet's weights as a checkpoint. Raises ValueError or OSError, one line, and writes nothing.

    What the file does not tell stays out of the checkpoint: its recipe holds what the network shows, its step is 0.
    """
    from texturenet import checkpoint, files

    if not files.is_plain_name(target.stem):
        raise ValueError(f"{target}: a style can't be called {target.stem!r}; give another -o")
    if target.suffix != ".pt":
        raise ValueError(f"{target}: a checkpoint is called .pt; give another -o")
    if target.exists():
        raise ValueError(f"{target} exists; give another -o, or take it away")
    theirs = _read(source)
    generator = {"name": "residual", "options": OPTIONS}
    try:
        weights = convert(theirs)
        checkpoint.build_generator({"name": target.stem, "generator": generator, "weights": weights})
    except (KeyError, checkpoint.CheckpointError) as error:
        raise ValueError(
            f"{source} holds another network than TransformerNet of pytorch/examples/fast_neural_style: {error}"
        ) from None
    checkpoint.save(
        target,
        name=target.stem,
        generator=generator,
        weights=weights,
        recipe={
            "generator": "residual",
            "width": 32,
            "noise_channels": 0,
            "noise_factor": 0.0,
            "normalization": "instance",
            "padding": "reflect",
        },
        perceptual={"name": "vgg16", "source": "pytorch/examples trains with it; the file does not tell"},
        step=0,
        converted_from={"file": source.name, "sha256": files.sha256(source)},
    )


def _read(path: Path) -> dict[str, Tensor]:
    import torch

    from texturenet import torchfile

    try:
        state = torchfile.read(path)
    except FileNotFoundError:
        raise ValueError(f"no weights at {path}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; name a file of weights") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a file of network weights: {error}") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise ValueError(f"{path} is not a plain dict of network weights")
    return state


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m texturenet.convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "weights", type=filled(Path), metavar="FILE", help="a state dict of TransformerNet, .pth or .model"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=filled(Path),
        required=True,
        metavar="FILE",
        help="the checkpoint; the style is called after it",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    return program.run("convert", partial(_run, parser().parse_args(argv)), "stopped; nothing was written")


def _run(flags: argparse.Namespace) -> None:
    if flags.output.resolve() == flags.weights.resolve():
        raise ValueError(f"{flags.output} would replace the weights themselves; choose another -o")
    convert_file(flags.weights, flags.output)
    print(f"{flags.output}; try it: python stylize.py --model {shlex.quote(str(flags.output))} PICTURE")


if __name__ == "__main__":
    sys.exit(main())
