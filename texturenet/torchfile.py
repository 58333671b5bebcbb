"""Files of `torch.save`: the only room that calls it, and `torch.load`. What anyone wrote is read as data.

With ``weights_only=True`` torch runs no code of a file. What is left is a small file that asks for much: an archive
that inflates to gigabytes, a `bytearray` of any length, a tensor of 4 bytes that is stretched to terabytes. So an
archive's records have to be stored as they are, the types that it names are the few that weights need, and no tensor
may show more than the file holds of it.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from texturenet.files import write_whole

MAX_BYTES = 2**30  # VGG19's weights take 575 MB
_PICKLES_OF_OLD = 5  # in a row, in the form of torch before 1.6: magic number, version, system, object, storages' keys
_WEIGHTS = re.compile(
    r"collections OrderedDict|torch \w+Storage|torch\._utils (_rebuild_tensor|_rebuild_tensor_v2|_rebuild_parameter)"
)


class ObjectsError(ValueError):
    """A file with other Python objects than weights: to load it could run code, or fill the memory."""


def read(path: Path) -> Any:
    """What a file holds: dicts, lists, tensors on the CPU, strings and numbers, in any nesting.

    Raises OSError for a file that can't be read, ObjectsError, and ValueError for anything else than such a file:
    one line, without the path.
    """
    with path.open("rb") as file:
        if file.seek(0, io.SEEK_END) > MAX_BYTES:
            raise ValueError(f"over {MAX_BYTES / 2**30:.0f} GB, which no weights of this project are")
        try:
            if objects := sorted(name for name in _named_types(file) if not _WEIGHTS.fullmatch(name)):
                raise ObjectsError(f"Python objects ({objects[0].replace(' ', '.')[:80]})")
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
            _require_whole_tensors(content)
        except ObjectsError:
            raise
        except Exception as error:  # a damaged file makes torch's reader raise nearly anything
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"damaged, cut short, or no file of torch.save: {reason[:80]}") from None
    return content


def write(path: Path, content: Any) -> None:
    """Write such a file whole or not at all. Raises OSError naming the path."""
    buffer = io.BytesIO()  # torch's own writer turns a full disk into an error that does not say so
    torch.save(content, buffer)
    write_whole(path, buffer.getbuffer())


def _named_types(file: IO[bytes]) -> set[str]:
    """'module name' of every type and function that the file would have loaded."""
    file.seek(0)
    if file.read(2) != b"PK":
        file.seek(0)
        return {name for _ in range(_PICKLES_OF_OLD) for name in _globals(file)}
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise ValueError("it is compressed, which torch.save never does")
        if damaged := archive.testzip():  # torch's reader goes by no checksum
            raise ValueError(f"its record {damaged} is not what was written")
        pickles = [record for record in records if record.filename.endswith(".pkl")]
        return {name for record in pickles for name in _globals(io.BytesIO(archive.read(record)))}


def _globals(pickled: IO[bytes]) -> set[str]:
    return {str(argument) for code, argument, _ in pickletools.genops(pickled) if code.name in ("GLOBAL", "INST")}


def _require_whole_tensors(content: Any) -> None:
    """A stride of 0 shows one number any number of times, and the first copy of it takes that memory."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:  # lists may hold themselves
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ValueError(f"a tensor claims the shape {tuple(value.shape)[:8]}, and the file does not hold it")
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
