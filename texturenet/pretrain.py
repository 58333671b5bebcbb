"""Make a perceptual network like the bundled `lite` from pictures with classes.

python -m texturenet.pretrain --data tiny-imagenet-200/train -o lite.pt      a folder of class folders
python -m texturenet.pretrain --data tiny_imagenet_train.npz -o lite.pt      one file of many small JPEGs
python train.py --texture glass.jpg --data_dir coco/ --perceptual_weights lite.pt    use it

Ctrl-C loses a minute or so: the same command goes on from lite.run.pt, to the bit.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from texturenet import program
from texturenet.config import PRECISIONS, PretrainRecipe, add_device_flags, add_flags, at_least, filled, given

PHOTOS = 16  # on which the activations are measured
PHOTO_SIZE = 256  # px, their longer side


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m texturenet.pretrain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main = parser.add_argument_group("input")
    main.add_argument(
        "--data",
        type=filled(Path),
        required=True,
        metavar="PATH",
        help="a folder of class folders, or an .npz of JPEGs",
    )
    main.add_argument(
        "--photos",
        type=filled(Path),
        default=Path(__file__).resolve().parents[1] / "data" / "sample",
        metavar="DIR",
        help="photos on which every layer's mean activation is made 1 (default: data/sample, beside the code)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        type=filled(Path),
        required=True,
        metavar="FILE",
        help="the weights, NAME.pt; NAME.run.pt and NAME.jsonl beside them",
    )
    machine = parser.add_argument_group("machine")
    add_device_flags(machine)
    machine.add_argument(
        "--workers", type=at_least(int, 0), default=1, metavar="INT", help="processes that read (default: 1)"
    )
    machine.add_argument(
        "--precision", default="auto", choices=PRECISIONS, help="auto: half precision where the chip is faster in it"
    )
    add_flags(parser, PretrainRecipe)
    return parser


def _run(flags: argparse.Namespace) -> None:
    from texturenet import (  # torch: after --help
        classifier,
        devices,
        files,
        images,
        labelled,
        monitor,
        pages,
        pretrainer,
        torchfile,
    )

    pages.keep_heap()
    recipe = PretrainRecipe(**given(flags, PretrainRecipe))
    target: Path = flags.output
    run_path = target.with_suffix(".run.pt")
    if target.exists() and not run_path.exists():
        raise ValueError(f"{target} exists and is kept; give another -o")
    device = devices.resolve_device(flags.device)
    photos = [images.load_image(path, PHOTO_SIZE) for path in files.find_images(flags.photos)[:PHOTOS]]
    if not photos:
        raise ValueError(f"{flags.photos}: no picture in it; --photos names a folder of photos")
    pictures = labelled.open_labelled(flags.data)
    print(f"device: {devices.describe(device)}")
    print(f"{len(pictures.labels)} pictures of {len(pictures.classes)} classes")
    resumed = pretrainer.load_run(run_path, recipe, pictures)
    start = resumed["step"] if resumed else 0
    bar = monitor.ProgressBar(pretrainer.step_count(recipe, pictures), start)
    log = monitor.JsonlLog(target.with_suffix(".jsonl"), start)
    if start:
        bar.message(f"going on from step {start} of {run_path}")
    try:
        trained = pretrainer.train(
            recipe, pictures, device, run_path, flags.precision, flags.workers, (bar, log), bar.message, resumed
        )
    except (MemoryError, RuntimeError) as error:
        if not devices.out_of_memory(error):
            raise
        raise ValueError(
            f"batches of {recipe.batch_size} do not fit the memory of {device}; lower --batch_size"
        ) from None
    finally:
        bar.close()
        log.close()
    encoder = classifier.fold(trained)
    classifier.normalise_activations(encoder, photos)
    torchfile.write(target, {name: value.half() for name, value in encoder.chain.state_dict().items()})
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB; use it: train.py ... --perceptual_weights {target}")


def main(argv: list[str] | None = None) -> int:
    return program.run("pretrain", partial(_run, parser().parse_args(argv)), "\nstopped; the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
