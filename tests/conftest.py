"""What several tests share: a network of one layer, small pictures, and the door of the stylizer."""

import contextlib
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from texturenet import images

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz", type=int, default=0, metavar="N", help="N new damaged files for each test of test_fuzz.py"
    )


def pytest_configure() -> None:
    # A shell starts its background jobs with Ctrl-C ignored, and what they start inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the chip: tests compare with float32. Those of bf16 ask for it; programs that they start choose anew."""
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)


class OneConv:
    """The smallest feature extractor: one fixed convolution under one name."""

    layers = ("conv",)

    def __init__(self) -> None:
        self.weight = torch.rand((4, 3, 3, 3), generator=torch.Generator().manual_seed(0)) - 0.5

    def resolve(self, layers: Iterable[str]) -> list[str]:
        assert set(layers) <= {"conv"}
        return list(layers)

    def __call__(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        return {layer: torch.relu(torch.nn.functional.conv2d(image, self.weight)) for layer in layers}


@pytest.fixture
def one_conv() -> OneConv:
    return OneConv()


@contextlib.contextmanager
def held_elsewhere(lock: Path) -> Iterator[None]:
    """Another process has that lock of `files.claimed`."""
    words = f"import fcntl, time; lock = open({str(lock)!r}, 'w'); fcntl.lockf(lock, fcntl.LOCK_EX)\n"
    words += "print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            other.kill()


def picture(height: int, width: int, seed: int = 0, batch: int = 1) -> Tensor:
    """A smooth coloured picture with some structure, (B, 3, H, W) in [0, 1]."""
    coarse = torch.rand((batch, 3, 6, 6), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True).clamp(0, 1)


@pytest.fixture
def photo_dir(tmp_path: Path) -> Path:
    """A plain folder of six small photos."""
    folder = tmp_path / "photos"
    for seed in range(6):
        images.save_image(picture(48, 64, seed), folder / f"{seed}.png")
    return folder


@pytest.fixture
def texture_path(tmp_path: Path) -> Path:
    path = tmp_path / "checks.png"
    checks = (torch.arange(48)[:, None] // 6 + torch.arange(48) // 6) % 2
    images.save_image(checks.float().expand(1, 3, 48, 48), path)
    return path


@pytest.fixture(scope="session")
def mosaic_onnx(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The shipped style as an ONNX file, alone in its folder, and what its export printed."""
    path = tmp_path_factory.mktemp("exported") / "mosaic.onnx"
    words = [sys.executable, "-m", "texturenet.export", "mosaic", "-o", str(path)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return path, ended.stdout


def opened(door: str) -> ModuleType:
    """train.py or stylize.py as a module."""
    spec = importlib.util.spec_from_file_location(f"{door}_door", ROOT / f"{door}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stylize() -> ModuleType:
    return opened("stylize")
