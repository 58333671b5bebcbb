import mmap
from itertools import product
from pathlib import Path

import pytest
import torch

from texturenet import devices
from texturenet.devices import describe, free_memory, place, resolve_device, resolve_precision, used_memory


def test_auto_takes_what_there_is() -> None:
    device = resolve_device("auto")
    assert device.type == (
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    assert str(device) in describe(device)


def test_float32_is_float32_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    assert resolve_device("auto").type == resolve_device("cuda:0").type == "cuda"
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(("wanted", "message"), [("cuda:99", "no such GPU"), ("gpu", "choose from auto, cpu, cuda")])
def test_what_there_is_not(wanted: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_device(wanted)


def test_precision_follows_the_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for has_amx, has_avx512, gains in product((False, True), repeat=3):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has_amx=has_amx: has_amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has_avx512=has_avx512: has_avx512)
        monkeypatch.setattr(devices, "gains_from_bf16", lambda gains=gains: gains)
        half = has_amx or (has_avx512 and gains)
        assert resolve_precision("auto", cpu) == (torch.bfloat16 if half else torch.float32)
    assert resolve_precision("fp16", cpu) == torch.float16
    assert resolve_precision("fp16", torch.device("mps"), painting=True) == torch.float32


@pytest.mark.parametrize("ratio", [0.6, 2.9])  # of the rates of a Xeon's and of an EPYC's products
def test_avx512_is_taken_where_it_gains(ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Product(torch.Tensor):
        def __matmul__(self, other: torch.Tensor) -> torch.Tensor:
            nonlocal now
            now += 1 / ratio if other.dtype == torch.bfloat16 else 1
            return other

    monkeypatch.setattr(torch, "ones", lambda *shape, dtype: torch.zeros(shape, dtype=dtype).as_subclass(Product))
    monkeypatch.setattr(devices.time, "perf_counter", lambda: now)
    assert devices.gains_from_bf16.__wrapped__() == (ratio > 1)


def test_place_sets_the_layout() -> None:
    convolution = torch.nn.Conv2d(3, 8, 3)
    assert place(convolution, torch.device("cpu")).weight.is_contiguous(memory_format=torch.channels_last)


def test_free_memory_is_known_here() -> None:
    free = free_memory(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("1:cpu:/\n0::/job/step\n")
    (tmp_path / "root/job/step").mkdir(parents=True)
    for group, limit, used, cached in (("job/step", "max", 100, 10), ("job", "5000", 4000, 1500)):
        folder = tmp_path / "root" / group
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file 7\n")
    assert min(devices._left_by_groups(tmp_path / "root", tmp_path / "own")) == 2500
    assert devices._left_by_groups(tmp_path / "root", tmp_path / "none") == []


def test_memory_that_a_library_lacks() -> None:
    assert devices.out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"))
    assert not devices.out_of_memory(RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED"))


@pytest.mark.parametrize(
    ("free", "max_memory", "left"),
    [(1000, None, 900), (1000, 800, 500), (1000, 5000, 900), (None, None, None), (None, 800, 500), (1000, 200, -100)],
)
def test_what_memory_is_left(
    free: int | None, max_memory: int | None, left: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda _: free)
    monkeypatch.setattr(devices, "used_memory", lambda _: 300)
    assert devices.room_left(torch.device("cpu"), max_memory) == left


def test_used_memory_grows_with_what_is_held() -> None:
    cpu = torch.device("cpu")
    if before := used_memory(cpu):  # 0: it can't be told here
        held = mmap.mmap(-1, 2**27)  # fresh pages: malloc may have some to spare, of tests before
        torch.frombuffer(held, dtype=torch.float32).fill_(1)
        assert used_memory(cpu) - before > 0.9 * len(held)
