import pytest
import torch

from texturenet.devices import describe, free_memory, place, resolve_device, resolve_precision, used_memory


def test_auto_takes_what_there_is() -> None:
    device = resolve_device("auto")
    assert device.type == (
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    assert str(device) in describe(device)


@pytest.mark.parametrize(("wanted", "message"), [("cuda:99", "no such GPU"), ("gpu", "choose from auto, cpu, cuda")])
def test_what_there_is_not(wanted: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_device(wanted)


def test_precision_follows_the_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for has_amx, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has_amx=has_amx: has_amx)
        assert resolve_precision("auto", cpu) == expected
    assert resolve_precision("fp16", cpu) == torch.float16


def test_place_sets_the_layout() -> None:
    convolution = torch.nn.Conv2d(3, 8, 3)
    assert place(convolution, torch.device("cpu")).weight.is_contiguous(memory_format=torch.channels_last)


def test_free_memory_is_known_here() -> None:
    free = free_memory(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50


def test_used_memory_grows_with_what_is_held() -> None:
    cpu = torch.device("cpu")
    if before := used_memory(cpu):  # 0: it can't be told here
        held = torch.ones(2**25)
        assert used_memory(cpu) - before > 0.9 * held.nbytes
