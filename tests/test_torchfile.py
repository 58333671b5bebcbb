import io
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from texturenet import torchfile
from texturenet.torchfile import ObjectsError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pt"


def repacked(content: object, *, deflated: bool = False, **records: bytes) -> bytes:
    """torch.save's archive of `content` with other records, named by their last part up to the dot."""
    file, packed = io.BytesIO(), io.BytesIO()
    torch.save(content, file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            record = records.get(Path(name).stem, old.read(name))
            new.writestr(name, record, zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED)
    return packed.getvalue()


def pickled(call: bytes, argument: int) -> bytes:
    """{"a": call(argument)}, a few dozen bytes long."""
    return b"\x80\x02}q\x00X\x01\x00\x00\x00ac" + call + b"\nJ" + struct.pack("<i", argument) + b"\x85Rs."


@pytest.mark.parametrize("of_old", [False, True])
def test_weights_of_every_kind(path: Path, of_old: bool) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    adam = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    adam.step()
    kept = {
        "weights": model.state_dict(),
        "adam": adam.state_dict(),
        "parameter": model[0].weight,
        "half": torch.ones(3, dtype=torch.bfloat16),
        "view": torch.arange(6).reshape(2, 3).T,
        "plain": [1, "two", 3.0, None, (True, {"deep": []})],
    }
    torch.save(kept, path, _use_new_zipfile_serialization=not of_old)
    read = torchfile.read(path)
    assert read["plain"] == kept["plain"]
    for name in ("parameter", "half", "view"):
        assert torch.equal(read[name], kept[name])
    assert read["adam"]["state"].keys() == adam.state_dict()["state"].keys()


def test_a_length_that_is_only_claimed(path: Path) -> None:
    """60 bytes that would become 2 GB."""
    path.write_bytes(repacked({}, data=pickled(b"__builtin__\nbytearray", 2**31 - 1)))
    with pytest.raises(ObjectsError, match="bytearray"):
        torchfile.read(path)


def test_an_archive_that_inflates(path: Path) -> None:
    path.write_bytes(repacked({"a": torch.zeros(10**6)}, deflated=True))
    assert path.stat().st_size < 50_000
    with pytest.raises(ValueError, match="it is compressed"):
        torchfile.read(path)


def test_a_tensor_that_is_stretched(path: Path) -> None:
    torch.save({"deep": [{"a": torch.zeros(1).expand(10**13)}]}, path)
    with pytest.raises(ValueError, match="claims the shape"):
        torchfile.read(path)


def test_a_tensor_with_less_data_than_it_claims(path: Path) -> None:
    path.write_bytes(repacked({"a": torch.zeros(1000)}, **{"0": bytes(16)}))
    with pytest.raises(ValueError, match="damaged"):
        torchfile.read(path)


def test_a_list_that_holds_itself(path: Path) -> None:
    endless: list[object] = [1]
    endless.append(endless)
    torch.save(endless, path)
    assert torchfile.read(path)[0] == 1


def test_a_file_over_the_limit_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(torchfile.MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(ValueError, match="over 1 GB"):
        torchfile.read(path)


def test_other_files(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        torchfile.read(path)
    for content in (b"", b"PK", b"no weights at all", b"\x80\x02}."):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged, cut short, or no file"):
            torchfile.read(path)


def test_a_weight_that_was_damaged_on_the_disk(path: Path) -> None:
    """torch's own reader takes it."""
    torch.save({"a": torch.zeros(1000)}, path)
    content = path.read_bytes()
    middle = content.find(bytes(4000)) + 2000
    path.write_bytes(content[:middle] + b"\x3f" + content[middle + 1 :])
    with pytest.raises(ValueError, match=r"^damaged, cut short, .*: its record .* is not what was written"):
        torchfile.read(path)
