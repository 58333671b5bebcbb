"""Side-by-side timings: ours, the same network in a plain script, and Johnson's network, in turn in one run.

python -m benchmarks                                         all of it, half an hour on two cores
python -m benchmarks --batches 1                             without the batches of 8
python -m benchmarks --parts stylization --sizes 512 1080p   one part, chosen sizes
python -m benchmarks --cuda                                  adds the GPU's columns to the same table

Writes results.json and RESULTS.md; benchmarks/RESULTS.md says how to read it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import growth, limits, quality, report, startup, stylization, training
from benchmarks.cells import Cell
from texturenet import program
from texturenet.config import add_device_flags, at_least
from texturenet.devices import out_of_memory, resolve_device

PARTS = ("stylization", "training", "startup", "memory", "quality")
FOLDER = Path(__file__).parent
QUALITY_BATCH = 1


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(group: Any, flag: str, default: Any, help: str, **others: Any) -> None:
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        text = help if default is None else f"{help} (default: {shown})"
        group.add_argument(flag, default=default, help=text, **others)

    what = parser.add_argument_group("what")
    add(what, "--parts", PARTS, "of the run", nargs="+", choices=PARTS, metavar="PART")
    group = parser.add_argument_group("stylization")
    sizes = ("256", "512", "1024", "2048", "1080p", "4k")
    add(group, "--sizes", sizes, "px a side, or WIDTHxHEIGHT", nargs="+", metavar="SIZE")
    add(group, "--batches", (1, 8), "pictures", nargs="+", type=_count, metavar="INT")
    group = parser.add_argument_group("training")
    add(group, "--encoders", training.ENCODERS, "of the loss", nargs="+", choices=training.ENCODERS, metavar="NAME")
    add(group, "--crops", (256, 512), "px a side", nargs="+", type=_crop, metavar="INT")
    add(group, "--batch_size", 4, "crops a step", type=_count, metavar="INT")
    group = parser.add_argument_group("how long")
    add(
        group,
        "--rounds",
        None,
        "of each row (default: 2 for the large to 12 for the small)",
        type=_count,
        metavar="INT",
    )
    add(group, "--starts", 5, "of each command", type=_count, metavar="INT")
    add(group, "--pictures", 1000, "that one process paints for its memory", type=_count, metavar="INT")
    add(group, "--steps", 2000, "that one process trains for its memory", type=_count, metavar="INT")
    add(group, "--quality_steps", 100, "of each training run", type=_count, metavar="INT")
    add(group, "--quality_seeds", 8, "three training runs from each", type=_count, metavar="INT")
    add(group, "--quality_size", 128, "px a side of their crops", type=_crop, metavar="INT")
    group = parser.add_argument_group("machine")
    add_device_flags(group, "cpu, cuda[:N] or auto", "cpu")
    add(group, "--threads", None, "of the CPU (default: torch's own choice)", type=_count, metavar="INT")
    add(parser.add_argument_group("output"), "--output", FOLDER, "folder", type=Path, metavar="DIR")
    return parser


def _crop(text: str) -> int:
    value = int(text)
    if value < stylization.SMALLEST or value % 4:
        raise argparse.ArgumentTypeError(f"{text}: give a multiple of 4, {stylization.SMALLEST} or more")
    return value


_crop.__name__ = "int"  # argparse names the type in its message
_count = at_least(int, 1)


def bar(part: str, total: float) -> tqdm[Any]:
    """Time spent and left of a part."""
    return tqdm(desc=part, total=total, bar_format="{desc:<12}{percentage:3.0f} %|{bar:30}| {elapsed}<{remaining}")


def timings(part: str, cells: list[Cell], rates: limits.Rates, flags: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of a table; each printed when it is there."""
    rows = []
    with bar(part, sum(cell.effort(flags.device) for cell in cells)) as progress:
        for cell in cells:
            rows.append(cell.measure(rates, flags.device, flags.threads, progress.update))
            progress.write(f"{part} {report.line(rows[-1])}")
    return rows


def measure(part: str, flags: argparse.Namespace, rates: limits.Rates | None, folder: Path) -> dict[str, Any]:
    """A part as results.json has it. `folder` is for what is needed on the way."""
    device, style = flags.device, folder / "benchmark.pt"
    stylization.write_style(style)
    if part == "stylization":
        assert rates
        found = stylization.cells(style, flags.sizes, flags.batches, flags.rounds, device)
        rows = timings(part, found, rates, flags)
        return {"cells": rows, "difference": stylization.difference(style, min(flags.sizes), device)}
    if part == "training":
        assert rates
        found = training.cells(flags.encoders, flags.crops, flags.batch_size, flags.rounds, device)
        return {"cells": timings(part, found, rates, flags)}
    if part == "startup":
        commands = startup.commands(folder, style, str(device))
        with bar(part, flags.starts) as progress:
            seconds = startup.measure(commands, flags.starts, flags.threads, progress.update)
        return {command.name: {"seconds": seconds[command.name], "target": command.target} for command in commands}
    if part == "memory":
        counts = {"pictures": flags.pictures, "steps": flags.steps}
        with bar(part, sum(counts.values())) as progress:
            contenders = growth.contenders(style, device)
            return {
                one.name: asdict(growth.alone(one, counts[one.name], device, flags.threads, progress.update))
                for one in contenders
            }
    plan = {
        "steps": flags.quality_steps,
        "size": flags.quality_size,
        "batch": QUALITY_BATCH,
        "seeds": flags.quality_seeds,
    }
    with bar(part, len(quality.RUNS) * flags.quality_steps * flags.quality_seeds) as progress:
        runs = quality.compare(**plan, device=device, tick=progress.update)
    return plan | {"runs": {name: asdict(outcome) for name, outcome in runs.items()}}


def main(argv: list[str] | None = None) -> int:
    flags = parser().parse_args(argv)
    flags.device = resolve_device(flags.device)
    flags.sizes = [stylization.parse_size(size) for size in flags.sizes]
    if flags.device.type not in report.KINDS:
        raise ValueError(f"{flags.device.type} is not measured; choose from {', '.join(report.KINDS)}")
    if flags.threads:
        torch.set_num_threads(flags.threads)
    run: dict[str, Any] = {"machine": report.machine(flags.device)}
    rates = None
    if {"stylization", "training"} & set(flags.parts):
        rates = limits.measure(flags.device)
        run["rates"] = asdict(rates)
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:  # what is finished is on the disk
            if part in flags.parts:
                try:
                    run[part] = measure(part, flags, rates, Path(folder))
                except (MemoryError, RuntimeError) as error:
                    if not out_of_memory(error):
                        raise
                    raise ValueError(f"{part}: {flags.device} ran out of memory: ask for less of it") from None
                report.save(flags.output, flags.device.type, run)
    print(f"{flags.output / report.TABLE}, {flags.output / report.ROUNDS}")
    return 0


if __name__ == "__main__":
    sys.exit(program.run("benchmarks", main, "stopped; the parts that were finished are written"))
