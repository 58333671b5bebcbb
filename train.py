#!/usr/bin/env python3
"""Train a texture network: learn one picture's texture, to paint photos with it in one pass.

python train.py --data_dir coco/ --texture mosaic.jpg --cuda --viz       a COCO root, one GPU
python train.py --data_dir photos/ --texture mosaic.jpg --perceptual lite --iterations 600     a laptop
python train.py --texture peppers.jpg                                    the texture alone, from noise
python train.py --data_dir coco/ --texture mosaic.jpg --resume           go on with a run that was stopped
"""

import argparse
import contextlib
import sys
from pathlib import Path

from texturenet.config import Recipe, Run, add_flags, given
from texturenet.presets import TRAIN_PRESETS, preset


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS
    )
    main = parser.add_argument_group("input")
    main.add_argument("--texture", type=Path, required=True, metavar="FILE", help="the picture to learn")
    main.add_argument(
        "--data_dir",
        type=Path,
        default=None,
        metavar="DIR",
        help="photos to learn on: a COCO root, or any folder of pictures; without it the texture alone is learned",
    )
    main.add_argument(
        "--categories", nargs="+", default=(), metavar="NAME", help="only COCO photos that show these, e.g. person dog"
    )
    main.add_argument(
        "--preset",
        default=None,
        metavar="NAME",
        help=f"values of a published report, each overridable by its flag, from {', '.join(TRAIN_PRESETS)}",
    )
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda[:N] or mps (default: auto)")
    machine.add_argument("--cuda", dest="device", action="store_const", const="cuda", help="short for --device cuda")
    machine.add_argument("--cpu", dest="device", action="store_const", const="cpu", help="short for --device cpu")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        default=None,
        metavar="FILE",
        help="go on from a checkpoint (default: NAME.pt)",
    )
    output.add_argument("--verbose", action="store_true", default=False, help="print the losses every --verbose_every")
    output.add_argument("--viz", action="store_true", default=False, help="curves and previews in visdom")
    output.add_argument(
        "--visdom_server", default="http://localhost", metavar="URL", help="(default: http://localhost)"
    )
    output.add_argument("--visdom_port", type=int, default=8097, metavar="INT", help="(default: 8097)")
    add_flags(parser, Recipe, Run)
    return parser


def main(argv: list[str] | None = None) -> int:
    flags = parser().parse_args(argv)
    recipe = preset(flags.preset, TRAIN_PRESETS) | given(flags, Recipe)
    from texturenet import devices, monitor, trainer  # torch loads in seconds, after --help and typing errors
    from texturenet.job import prepare

    device = devices.resolve_device(flags.device)
    print(f"device: {devices.describe(device)}")
    job = prepare(
        recipe,
        Run(**given(flags, Run)),
        flags.texture,
        flags.data_dir,
        flags.categories,
        device,
        flags.resume,
    )
    log_path = job.run_dir / "log.jsonl"
    bar = monitor.ProgressBar(job.recipe.iterations, job.start_step, job.run.verbose_every if flags.verbose else 0)
    listeners: list[monitor.Listener] = [bar, monitor.JsonlLog(log_path, job.start_step)]
    if flags.viz:
        from texturenet.visdom_monitor import VisdomMonitor

        history = monitor.read_log(log_path) if job.resumed else []
        env = f"texturenet_{job.name}"
        listeners.append(VisdomMonitor(flags.visdom_server, flags.visdom_port, env, history, log_path))
    try:
        with contextlib.ExitStack() as closing:
            for listener in listeners:
                closing.callback(listener.close)
            path = trainer.train(job, listeners)
    except trainer.Interrupted as stop:  # said after the bar is closed
        print(f"{stop}; go on with: python train.py ... --resume {job.path}")
        return stop.exit_code
    print(f"log: {log_path}\ncheckpoint: {path}")
    if job.photos:
        print(f"try it: python stylize.py --model {path} PICTURE")
    else:
        print(f"try it: python stylize.py --model {path} --size 1024x768")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        sys.exit(2)
