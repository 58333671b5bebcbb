"""What is there and what is missing, a line each, with the line that mends it: `python -m texturenet.doctor`.

It reads and measures; it changes nothing and downloads nothing. Every check imports for itself what it asks about, so
that a broken torch is a line of the list and not the end of it. The exit code is 1 where something that training or
stylizing needs is broken, else 0.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import platform
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from importlib import metadata
from pathlib import Path

from texturenet import files, program

ROOT = Path(__file__).resolve().parents[1]
SUMS = Path("checkpoints/SHA256SUMS")
REQUIREMENTS = "pip install -r requirements.txt"
# Packages that are imported under another name than they are installed by.
MODULES = {"pillow": "PIL", "scikit-image": "skimage", "torchvision": "texturenet.perceptual"}
EXTRAS = {
    "onnxruntime": "styles as .onnx files",
    "nicegui": "the local web page",
    "pillow-heif": "HEIC photos of iPhones",
}
LITTLE_DISK, NO_DISK = 2**30, 50 * 2**20  # bytes free; a run's checkpoints, previews and log take tens of MB
LITTLE_MEMORY = 2 * 2**30  # bytes; a step of the laptop's recipe takes about 1.5 GB
ANSWER_WITHIN = 1.0  # seconds


@dataclass(frozen=True)
class Finding:
    """One line of the list."""

    level: str  # ok, warn: works without, fail: does not work
    what: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.level:4}  {self.what:14}  {self.found}" + (f"; {self.mend}" if self.mend else "")


def examine(checkpoint_dir: Path, run_dir: Path, visdom_port: int) -> Iterator[Finding]:
    """Every finding, in the order in which a newcomer needs them."""
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", _python),
        ("packages", _packages),
        ("device", _device),
        ("shipped files", lambda: _shipped(ROOT)),
        ("perceptual", _perceptual),
        ("disk", lambda: _disk(checkpoint_dir, run_dir)),
        ("visdom", lambda: _visdom(visdom_port)),
        ("extras", _extras),
    ]
    for what, check in checks:
        try:
            yield from check()
        except Exception as error:  # whatever a broken library raises
            mend = "" if isinstance(error, OSError) else REQUIREMENTS  # a folder that may not be looked into, say
            yield Finding("fail", what, f"can't be examined: {_line(error)}", mend)


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    enough = sys.version_info >= (3, 11)
    yield Finding("ok" if enough else "fail", "python", found, "" if enough else "install Python 3.11 or newer")


def _packages() -> Iterator[Finding]:
    """The pins of requirements.txt against what is installed, each really imported."""
    try:
        lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = [f"{name}==" for name in ("torch", "torchvision", "pillow", "numpy")]  # installed without a checkout
    for name, _, pinned in (line.partition("==") for line in lines if line[:1].isalpha()):
        try:
            version = metadata.version(name)
            importlib.import_module(MODULES.get(name, name))
        except metadata.PackageNotFoundError:
            yield Finding("fail", name, "not installed", REQUIREMENTS)
        except Exception as error:
            yield Finding("fail", name, f"{version} does not load: {_line(error)}", f"{REQUIREMENTS} --force-reinstall")
        else:
            if pinned and version.partition("+")[0] != pinned:
                yield Finding("warn", name, f"{version}, tested with {pinned}", REQUIREMENTS)
            else:
                yield Finding("ok", name, version)


def _device() -> Iterator[Finding]:
    import torch

    from texturenet import devices

    device = devices.resolve_device("auto")
    precision = str(devices.resolve_precision("auto", device)).removeprefix("torch.")
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        driver = torch._C._cuda_getDriverVersion()  # type: ignore[attr-defined]
        yield Finding(
            "ok",
            "device",
            f"{devices.describe(device)}, compute {major}.{minor}, {precision}; torch for CUDA {torch.version.cuda}, "
            f"driver for {driver // 1000}.{driver % 1000 // 10}",
        )
    elif device.type == "cpu" and shutil.which("nvidia-smi"):
        mend = (
            "update its driver" if torch.version.cuda else "install a CUDA build of torch, see pytorch.org/get-started"
        )
        yield Finding("warn", "device", f"an NVIDIA driver is here, but torch {torch.__version__} finds no GPU", mend)
    else:
        units = {"AMX": torch.cpu._is_amx_tile_supported(), "AVX512-BF16": torch.cpu._is_avx512_bf16_supported()}
        good_for = ", ".join(name for name, there in units.items() if there) or "no bf16 arithmetic"
        yield Finding(
            "ok", "device", f"{devices.describe(device)}, {precision}" + f", {good_for}" * (device.type == "cpu")
        )
    free = devices.free_memory(device)
    if free is not None:
        little = free < LITTLE_MEMORY
        mend = "close programs, or train with --batch_size 1" if little else ""
        yield Finding("warn" if little else "ok", "memory", f"{free / 2**30:.1f} GB free on {device}", mend)


def _shipped(root: Path) -> Iterator[Finding]:
    """Styles and weights that ship, against their hashes."""
    try:
        lines = (root / SUMS).read_text(encoding="utf-8").splitlines()
    except OSError:
        yield Finding("warn", "shipped files", f"no {SUMS}: not a checkout, nothing to compare with")
        return
    for expected, name in (line.split(maxsplit=1) for line in lines):
        path = (root / SUMS.parent / name).resolve()
        shown = path.relative_to(root.resolve())
        mend = f"git checkout {shown}"
        if not path.is_file():
            yield Finding("fail", path.name, f"{shown} is missing", mend)
        elif files.sha256(path) != expected:
            yield Finding("fail", path.name, f"{shown} is not the file that ships: damaged or changed", mend)
        else:
            yield Finding("ok", path.name, f"{shown}, intact")


def _perceptual() -> Iterator[Finding]:
    """Which networks can judge; vgg19 is the one that `auto` looks for."""
    import torch

    from texturenet.perceptual import ENCODERS

    for name, architecture in ENCODERS.items():
        if architecture.weights is None:
            continue
        url = architecture.weights.url
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
        if path.is_file():
            # torchvision's names end in the first digits of their SHA-256: vgg19-dcbb9e9d.pth
            intact = files.sha256(path).startswith(path.stem.rpartition("-")[2])
            mend = "" if intact else "delete it; it is downloaded again when it is asked for"
            yield Finding("ok" if intact else "warn", name, f"{path}{'' if intact else ' is damaged'}", mend)
        elif name == "vgg19":
            yield Finding(
                "warn",
                name,
                "not on this machine: --perceptual auto downloads it, or takes lite",
                f"by hand: {url} to {path}",
            )


def _disk(checkpoint_dir: Path, run_dir: Path) -> Iterator[Finding]:
    for folder in (checkpoint_dir, run_dir):
        there = files.nearest(folder)
        if not there.is_dir():
            yield Finding("fail", f"{folder}/", f"{there} is a file", "choose another folder")
            continue
        free = shutil.disk_usage(there).free
        found = f"{free / 2**30:.1f} GB free"
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            yield Finding("fail", f"{folder}/", f"can't be written: {error.strerror}", "choose another folder")
            continue
        level = "fail" if free < NO_DISK else "warn" if free < LITTLE_DISK else "ok"
        yield Finding(level, f"{folder}/", found, "" if level == "ok" else "make room, or choose another folder")


def _visdom(port: int) -> Iterator[Finding]:
    """Package, page, server: what `--viz` takes."""
    from texturenet.visdom_server import missing_packages

    install = "python -m texturenet.visdom_server --install"
    spec = importlib.util.find_spec("visdom")
    if missing := missing_packages():
        yield Finding("warn", "visdom", f"--viz needs {', '.join(missing)}", install)
        return
    assert spec is not None and spec.origin is not None  # it is installed
    built = Path(spec.origin).parent / "static" / "version.built"
    version = metadata.version("visdom")
    if not built.is_file() or built.read_text().strip() != version:
        yield Finding("warn", "visdom", f"{version}, but files of its page are missing", install)
        return
    url = f"http://localhost:{port}"
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=ANSWER_WITHIN):
            yield Finding("ok", "visdom", f"{version}, answers at {url}")
    except (OSError, HTTPException):  # nothing is there, or another service
        yield Finding(
            "ok", "visdom", f"{version}, not running at {url}", "python -m texturenet.visdom_server starts it"
        )


def _extras() -> Iterator[Finding]:
    for name, purpose in EXTRAS.items():
        try:
            yield Finding("ok", name, f"{metadata.version(name)}, for {purpose}")
        except metadata.PackageNotFoundError:
            yield Finding("warn", name, f"not installed, for {purpose}", f"pip install {name}")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def parser() -> argparse.ArgumentParser:
    from texturenet.config import Run

    defaults = Run()
    parser = argparse.ArgumentParser(
        prog="python -m texturenet.doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("checkpoint_dir", "run_dir"):
        default = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=Path, default=default, metavar="DIR", help=f"(default: {default})")
    parser.add_argument("--visdom_port", type=int, default=8097, metavar="INT", help="(default: 8097)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return program.run("doctor", partial(_run, parser().parse_args(argv)))


def _run(flags: argparse.Namespace) -> int:
    """Print the list -> 1 if anything failed, else 0."""
    failed = 0
    for finding in examine(flags.checkpoint_dir, flags.run_dir, flags.visdom_port):
        print(finding, flush=True)
        failed += finding.level == "fail"
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
