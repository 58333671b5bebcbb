"""A checkpoint as one ONNX file, checked against torch before it is declared done:

python -m texturenet.export checkpoints/mosaic.pt -o mosaic.onnx
python -m texturenet.export mosaic                               a style that ships, into mosaic.onnx

The file takes a photo (batch, 3, height, width), every one of these free, and the noise, and gives a picture of the
same size; padding and cropping are inside. Noise stays an argument: an ONNX operator that draws it would give another
picture under every runtime, and noise baked in as a constant would tie the file to one size. Its metadata say how to
make it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texturenet import program, styles
from texturenet.config import filled
from texturenet.noise import SMALLEST

if TYPE_CHECKING:
    from texturenet.generators import Generator

OPSET = 18
TOLERANCE = 1e-3  # of [0, 1]; a quarter of an 8-bit step
CHECKS = ((1, 64, 96), (2, 83, 65), (1, 131, 197))  # (batch, height, width)
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
NOISE_RULE = (
    "noise_k: float32 (batch, noise_channels, H / 2^k, W / 2^k), uniform in [0, 1) times noise_factor, for the last "
    "noise_scales of the noise_levels; H is the height "
    f"of the photo ({SMALLEST} px or more), rounded up to multiples of noise_multiple, at least two; W likewise"
)


def export(checkpoint_path: Path, target: Path) -> float:
    """Write the style of a checkpoint as one ONNX file; returns the largest difference from torch, of [0, 1].

    Raises ValueError or OSError, one line, and writes nothing: for a file that is no checkpoint, where a package is
    missing, where the network can't be exported, and where onnxruntime's pictures are over TOLERANCE off torch's.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise ValueError(f"the export needs {', '.join(missing)}, not installed: pip install {' '.join(PACKAGES)}")
    from texturenet import checkpoint
    from texturenet.onnx_style import FORMAT, VERSION

    fields = checkpoint.load(checkpoint_path)
    generator = checkpoint.build_generator(fields)
    properties = {
        "format": FORMAT,
        "version": VERSION,
        "name": fields["name"],
        "recipe": json.dumps(fields["recipe"]),
        "noise_factor": str(fields["recipe"]["noise_factor"]),
        "channels": str(generator.channels),
        "noise_channels": str(generator.noise_channels),
        "noise_multiple": str(generator.multiple),
        "noise_scales": str(sum(channels > 0 for channels, _, _ in generator.noise_shapes(SMALLEST, SMALLEST))),
        "noise_levels": str(len(generator.noise_shapes(SMALLEST, SMALLEST))),
        "noise": NOISE_RULE,
    }
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(_to_onnx(generator, properties))
        difference = largest_difference(generator, temporary)
        if not difference <= TOLERANCE:
            raise ValueError(
                f"{target} is not written: onnxruntime's pictures are {difference:.1g} off torch's, "
                f"and {TOLERANCE:.0e} is allowed"
            )
        temporary.replace(target)
    except OSError as error:
        raise OSError(f"can't write {target}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return difference


def largest_difference(generator: Generator, path: Path) -> float:
    """Between the pictures of a generator and of an ONNX file, at the sizes of CHECKS."""
    import torch

    from texturenet.generators import make_noise
    from texturenet.onnx_style import OnnxStyle

    style = OnnxStyle(path)
    worst = 0.0
    for batch, height, width in CHECKS:
        noise = make_noise(generator, batch, height, width, seed=0)
        shape = (batch, 3, height, width)
        photo = torch.rand(shape, generator=torch.Generator().manual_seed(0)) if generator.content else None
        with torch.inference_mode():
            wanted = generator(photo, noise)
        got = style(None if photo is None else photo.numpy(), [level.numpy() for level in noise])
        difference = (torch.from_numpy(got) - wanted).abs().max().item()
        worst = worst if difference <= worst else difference  # NaN, which `max` would pass over, stays
    return worst


def _to_onnx(generator: Generator, properties: dict[str, str]) -> bytes:
    import onnx
    import torch
    from torch.export import Dim

    from texturenet.generators import make_noise

    batch, height, width = Dim("batch"), Dim("height", min=SMALLEST), Dim("width", min=SMALLEST)
    rows, columns = Dim("rows", min=2), Dim("columns", min=2)  # of the photo, in multiples of the generator's
    noise = make_noise(generator, 2, 70, 85, seed=0)
    steps = [generator.multiple >> level for level in range(len(noise))]
    noise_dims = [
        {0: batch, 2: step * rows if step > 1 else rows, 3: step * columns if step > 1 else columns} for step in steps
    ]
    inputs = [f"noise_{level}" for level in range(len(noise))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter warns of its own code
            program = torch.onnx.export(
                generator,
                (torch.rand(2, 3, 70, 85) if generator.content else None, noise),
                input_names=["photo", *inputs] if generator.content else inputs,
                output_names=["picture"],
                dynamic_shapes=({0: batch, 2: height, 3: width} if generator.content else None, noise_dims),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"torch {torch.__version__} can't export this network: {reason}; update onnxscript") from None
    assert program is not None
    model: Any = program.model_proto
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    for silent in [item for item in graph.input if item.name not in read]:
        graph.input.remove(silent)  # noise without channels: not every runtime takes an empty tensor
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")  # the exporter's trace of the source, with this machine's paths
    for dim, name in zip(graph.output[0].type.tensor_type.shape.dim[2:], ("height", "width"), strict=True):
        dim.dim_param = name  # the exporter has "Min(32*rows, height)"
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m texturenet.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a checkpoint of train.py, or the name of a style that ships"
    )
    parser.add_argument(
        "-o", "--output", type=filled(Path), metavar="FILE", help="(default: the checkpoint's name, here)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    return program.run("export", partial(_run, parser().parse_args(argv)), "stopped; nothing was written")


def _run(flags: argparse.Namespace) -> None:
    source = styles.find(flags.checkpoint)
    target = flags.output or Path(f"{source.stem}.onnx")
    if target.suffix != ".onnx":
        raise ValueError(f"{target}: an ONNX file is called .onnx")
    difference = export(source, target)
    sizes = ", ".join(f"{width}x{height}" for _, height, width in CHECKS)
    print(f"{target}: opset {OPSET}, {target.stat().st_size / 2**20:.1f} MB")
    print(f"onnxruntime against torch at {sizes}: largest difference {difference:.1e} of [0, 1]")


if __name__ == "__main__":
    sys.exit(main())
