#!/usr/bin/env python3
"""Train a texture network: learn one picture's texture, to paint photos with it in one pass.

python train.py --data_dir coco/ --texture glass.jpg --cuda --viz        a COCO root, one GPU
python train.py --data_dir photos/ --texture glass.jpg --preset laptop   a quarter of an hour on two cores
python train.py --data_dir photos/ --texture glass.jpg --preset scratch  half an hour, begun with drawn weights
python train.py --data_dir photos/ --texture glass.jpg --preset best     three times as long: a style to ship
python train.py --texture peppers.jpg                                    the texture alone, from noise
python train.py --data_dir coco/ --texture glass.jpg --resume            go on with a run that was stopped
torchrun --nproc_per_node=4 train.py --data_dir coco/ --texture glass.jpg --cuda     four GPUs
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texturenet import program
from texturenet.config import Recipe, Run, add_device_flags, add_flags, filled, given
from texturenet.presets import TRAIN_PRESETS, preset

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from texturenet.job import Job
    from texturenet.processes import Processes


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS
    )
    main = parser.add_argument_group("input")
    main.add_argument("--texture", type=filled(Path), required=True, metavar="FILE", help="the picture to learn")
    main.add_argument(
        "--data_dir",
        type=filled(Path),
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
        help="values that belong together, each overridable by its flag: of a published report; laptop, begun with "
        "a style that ships; scratch, the same from weights drawn at random; best, three times as long, by which most "
        "of the styles that ship were made; from "
        f"{', '.join(TRAIN_PRESETS)}",
    )
    machine = parser.add_argument_group("machine")
    add_device_flags(machine)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--resume",
        nargs="?",
        type=filled(str),
        const="last",
        default=None,
        metavar="FILE",
        help="go on from a checkpoint (default: NAME.pt); auto: from NAME.pt if it is there, else begin",
    )
    output.add_argument(
        "--resume_with_changes",
        action="store_true",
        default=False,
        help="resume although flags of the recipe changed; what changed is said, and kept in the checkpoint",
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
    from texturenet import devices, pages, processes  # torch loads in seconds, after --help and typing errors

    pages.keep_heap()
    device = processes.own_device(devices.resolve_device(flags.device))
    run = Run(**given(flags, Run))
    # One process may wait for its photos as long as it has patience; so must the others for it.
    with processes.joined(device, 60 * run.patience + 300) as crew:
        return train(flags, recipe, run, device, crew)


def train(flags: argparse.Namespace, recipe: dict[str, Any], run: Run, device: torch.device, crew: Processes) -> int:
    """Prepare and run one training; returns the exit code."""
    from texturenet import devices, keeper
    from texturenet.job import prepare

    if flags.viz:
        from texturenet import visdom_monitor

        visdom_monitor.require()
    say = print if crew.rank == 0 else lambda _line: None
    among = f", {crew.size} processes" if crew.size > 1 else ""
    say(f"device: {devices.describe(device)}{among}")
    job = prepare(
        recipe,
        run,
        flags.texture,
        flags.data_dir,
        flags.categories,
        device,
        flags.resume or ("last" if flags.resume_with_changes else None),
        say,
        flags.resume_with_changes,
        crew,
    )
    crew.require_same(job.identity)
    with keeper.claimed(job) if crew.rank == 0 else contextlib.nullcontext():
        return watch(flags, job, say)


def watch(flags: argparse.Namespace, job: Job, say: Callable[[str], None]) -> int:
    """Run a prepared training with all that shows it; returns the exit code."""
    from texturenet import data, monitor, recovery, trainer

    run, crew = job.run, job.processes
    log_path, quoted = job.run_dir / "log.jsonl", shlex.quote(str(job.path))
    listeners: list[monitor.Listener] = []
    if crew.rank == 0:
        bar = monitor.ProgressBar(job.recipe.iterations, job.start_step, run.verbose_every if flags.verbose else 0)
        listeners = [bar, monitor.JsonlLog(log_path, job.start_step)]
        if job.photos:
            enough = round(data.MAX_ZOOM * job.recipe.image_size)
            cores = (os.cpu_count() or 1) // crew.size
            listeners.append(monitor.DataWait(run.workers, cores, enough))
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
    except recovery.Interrupted as stop:  # said after the bar is closed
        say(f"{stop}; go on with: python train.py ... --resume {quoted}")
        return stop.exit_code
    except KeyboardInterrupt:  # a second one, which does not wait for the step
        if not job.path.exists():
            raise
        say(f"stopped at once; go on from the last save with: python train.py ... --resume {quoted}")
        return program.STOPPED
    say(f"log: {log_path}\ncheckpoint: {path}")
    if job.photos:
        say(f"try it: python stylize.py --model {shlex.quote(str(path))} PICTURE")
    else:
        say(f"try it: python stylize.py --model {shlex.quote(str(path))} --size 1024x768")
    return 0


if __name__ == "__main__":
    sys.exit(program.run("train.py", main, "stopped before the first save; nothing was saved"))
