"""What was measured, as JSON (results.json, every round) and as tables (RESULTS.md, medians)."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch

from benchmarks.timing import Measured
from benchmarks.training import WITH_VGG19
from texturenet.devices import resolve_precision
from texturenet.files import write_whole

ROUNDS, TABLE = "results.json", "RESULTS.md"
KINDS = {"cpu": "CPU", "cuda": "GPU"}
NOT_MEASURED = "not measured: no such device here"
_ABOUT = """\
Written by `python -m benchmarks`, which also writes every round to `results.json`.

* *ours* is what `stylize.py` and `train.py` run; *plain* the same network and loss as a straightforward eager fp32
  script has them; *Johnson* the residual network (32-64-128, five blocks, 9x9 ends) in the same plain style: see
  `benchmarks/plain.py`. In a batch ours paints one picture after the other, as `stylize.py` does.
* *plain with vgg19 / ours*, below the second table: ours with `lite` against the plain script with VGG19, which `lite`
  spares its user.
* They take turns in one run. *plain / ours* is a ratio of times, the median over the rounds: above 1, ours is faster.
* *without bf16*: plain / ours with the check for bf16 masked, as on a CPU that lacks it; empty where ours takes none.
* *peak* is the most memory that a process of its own held above what it held before, per megapixel of the whole batch:
  ours / plain / Johnson.
* *x limit*: time of ours over the longer of two times: its arithmetic at the measured rate of a large matrix product,
  and the bytes of its convolutions, each map read and written once, at the measured rate of a large copy. Arithmetic as
  the convolutions are defined: in float32 those of the encoder's deeper layers take less (`texturenet/winograd.py`).
"""


def machine(device: torch.device) -> dict[str, str]:
    """Chip and versions."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        chip, memory = properties.name, properties.total_memory
        units = f"{properties.multi_processor_count} multiprocessors, CUDA {torch.version.cuda}"
    else:
        chip, memory = _processor(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        units = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
        units += f", {torch.backends.cpu.get_cpu_capability()}"
    return {
        "chip": chip,
        "units": units,
        "ours computes in": ", ".join(
            f"{str(resolve_precision('auto', device, painting)).removeprefix('torch.')} {what}"
            for what, painting in (("to paint", True), ("to train", False))
        ),
        "memory": f"{memory / 2**30:.0f} GB",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numpy {numpy.__version__}, "
        f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def save(folder: Path, kind: str, run: dict[str, Any]) -> None:
    """Put a device's run into results.json, and write RESULTS.md anew.

    Parts that the run lacks stay, if they were measured on the same machine. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ROUNDS
    runs = json.loads(path.read_text()) if path.exists() else {}
    before = runs.get(kind, {})
    runs[kind] = (before if before.get("machine") == run["machine"] else {}) | run
    write_whole(path, (json.dumps(runs, indent=1) + "\n").encode())
    write_whole(folder / TABLE, markdown(runs).encode())


def markdown(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """RESULTS.md of what results.json holds: {kind of device: run}."""
    parts = ["# Benchmarks\n", _ABOUT, _machines(runs)]
    for part, title in (("stylization", "Stylization"), ("training", "Training step")):
        if any(part in run for run in runs.values()):
            parts += [f"## {title}\n", _timings(runs, part)]
    for part, section in (("startup", _startup), ("memory", _memory), ("quality", _quality)):
        for kind, run in runs.items():
            if part in run:
                parts.append(section(KINDS[kind], run[part]))
    return "\n".join(parts)


def line(row: Mapping[str, Any]) -> str:
    """A cell in one line, for the terminal."""
    named = [*zip(_COLUMNS, _figures(row), strict=True), (f"{WITH_VGG19} / ours", _over_vgg19(row))]
    return f"{row['name']}, batch {row['batch']}: " + ", ".join(f"{name} {value}" for name, value in named if value)


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _machines(runs: Mapping[str, Mapping[str, Any]]) -> str:
    rows: dict[str, list[str]] = {}
    for kind in KINDS:
        run = runs.get(kind, {})
        facts = dict(run.get("machine", {"chip": NOT_MEASURED}))
        if "rates" in run:
            gemm = ", ".join(f"{rate / 1e9:,.1f} GFLOP/s {name}" for name, rate in run["rates"]["gemm"].items())
            facts["matrix product"], facts["copy"] = gemm, f"{run['rates']['copy'] / 1e9:,.1f} GB/s read and written"
        for name, value in facts.items():
            rows.setdefault(name, [""] * len(KINDS))[list(KINDS).index(kind)] = value
    return table(["", *KINDS.values()], [[name, *values] for name, values in rows.items()])


_COLUMNS = ("pictures/s", "plain / ours", "Johnson / ours", "without bf16", "peak MB/MP", "x limit")


def _timings(runs: Mapping[str, Mapping[str, Any]], part: str) -> str:
    heads = ["", "batch"]
    rows: dict[tuple[str, int], list[str]] = {}
    for kind in KINDS:
        if part not in runs.get(kind, {}):
            heads.append(f"{KINDS[kind]} ({NOT_MEASURED})")
            columns: tuple[str, ...] = ("",)
        else:
            heads += [f"{KINDS[kind]}: {name}" for name in _COLUMNS]
            columns = _COLUMNS
        found = {(row["name"], row["batch"]): row for row in runs.get(kind, {}).get(part, {}).get("cells", [])}
        for key in found:
            rows.setdefault(key, [""] * (len(heads) - 2 - len(columns)))
        for key, values in rows.items():
            values += _figures(found[key]) if key in found else [""] * len(columns)
    text = table(heads, [[name, str(batch), *values] for (name, batch), values in rows.items()])
    for kind, run in runs.items():
        if (difference := run.get(part, {}).get("difference")) is not None:
            text += (
                f"\n{KINDS[kind]}: with the same weights and noise, values of ours (0 to 1) differ from the plain "
                f"network's by {difference['mean']:.1e} on average, by {difference['greatest']:.1e} at most.\n"
            )
        for row in run.get(part, {}).get("cells", []):
            if times := _over_vgg19(row):
                text += f"\n{KINDS[kind]}: {row['name']}, batch {row['batch']}: {WITH_VGG19} / ours is {times}.\n"
    return text


def _over_vgg19(row: Mapping[str, Any]) -> str:
    """Time of the plain script with VGG19 over ours with `lite`; "" where it was not to be measured."""
    if WITH_VGG19 not in row["contenders"]:
        return ""
    plain, ours = (Measured(**row["contenders"][name]) for name in (WITH_VGG19, "ours"))
    return plain.reason or ours.reason or f"{plain.ratio(ours):.2f}"


def _figures(row: Mapping[str, Any]) -> list[str]:
    """Of one cell, as `_COLUMNS` says; where there is no figure, the reason."""
    found = {name: Measured(**values) for name, values in row["contenders"].items()}
    ours = found["ours"]

    def if_measured(name: str, figure: Callable[[Measured], str]) -> str:
        if name not in found:
            return ""
        return found[name].reason or ("" if ours.reason else figure(found[name]))

    def peak(one: Measured) -> str:
        return "-" if one.reason else f"{one.peak / row['pixels']:,.0f}"

    plain = found["plain"]
    masked = if_measured("ours without bf16", lambda one: "" if plain.reason else f"{plain.ratio(one):.2f}")
    bound = row["limits"]["plain"]
    return [
        if_measured("ours", lambda one: f"{row['batch'] / one.median:.3g}"),
        if_measured("plain", lambda one: f"{one.ratio(ours):.2f}"),
        if_measured("Johnson", lambda one: f"{one.ratio(ours):.2f}"),
        masked,
        "" if ours.reason else " / ".join(peak(found[name]) for name in ("ours", "plain", "Johnson")),
        "" if ours.reason else f"{ours.median / bound['seconds']:.1f} ({bound['by']}, {bound['dtype']})",
    ]


def _startup(device: str, part: Mapping[str, Any]) -> str:
    rows = []
    for name, found in part.items():
        median, target = statistics.median(found["seconds"]), found["target"]
        verdict = "" if target is None else f"under {target:g} s: {'yes' if median < target else 'no'}"
        rows.append([name, f"{median:.2f}", verdict])
    return f"## From the shell ({device})\n\n" + table(["", "s, median", "target"], rows)


def _memory(device: str, part: Mapping[str, Any]) -> str:
    rows = [
        [f"{found['count']:,} {name}", f"{(found['end'] - found['settled']) / 1e6:+.1f}"]
        for name, found in part.items()
    ]
    text = "Most memory that one process holds in the last tenth of them, over that in the second tenth.\n"
    return f"## Memory held ({device})\n\n{text}\n" + table(["", "MB"], rows)


def _quality(device: str, part: Mapping[str, Any]) -> str:
    rows = [[name, f"{run['smoothed']:.3f}", f"{run['held_out']:.3f}"] for name, run in part["runs"].items()]
    text = (
        f"{part['steps']} steps of {part['batch']} x {part['size']} px with `lite`, from the same weights, on the same "
        f"crops; means of {part['seeds']} runs each, from as many seeds. The second plain ones differ by their noise "
        "alone: so far apart are runs that are equally good.\n"
    )
    heads = ["", "smoothed training loss", "plain fp32 loss on photos not seen"]
    return f"## Quality ({device})\n\n{text}\n" + table(heads, rows)
