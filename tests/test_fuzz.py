"""Files of strangers: whatever their bytes, a documented error or a result, soon, in bounded memory.

A few dozen examples a target run with the suite, always the same ones. `pytest tests/test_fuzz.py --fuzz 5000` draws
that many new ones a target; what it finds is printed as an example and belongs into the room's own tests.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from texturenet import checkpoint, config, data, images, labelled, perceptual, pictures, segments
from texturenet.files import ImageError
from texturenet.generators import Pyramid
from texturenet.onnx_style import OnnxStyle, OnnxStyleError
from texturenet.stylizer import Stylizer

SECONDS = 2.0  # of processor time, for any file
EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]  # what sizes are claimed as


@pytest.fixture(scope="module")
def fuzz(request: pytest.FixtureRequest) -> Callable[[st.SearchStrategy[Any], Callable[[Any], None]], None]:
    """Run a check on examples of a strategy: the suite's own few, or as many new ones as --fuzz says."""
    count = request.config.getoption("--fuzz")
    chosen = settings(
        max_examples=count or 40,
        derandomize=not count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def run(strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
        chosen(given(strategy)(lambda example: check(example)))()

    return run


@contextlib.contextmanager
def bounded(megabytes: int) -> Iterator[None]:
    """Fails when the block takes longer than SECONDS, or more memory on top of what was taken before."""
    before, start = _reset_peak(), time.process_time()
    yield
    assert time.process_time() - start < SECONDS
    assert (_peak() - before) / 2**20 < megabytes


def _reset_peak() -> int:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """Bytes of memory at the most since the last reset; 0 where the system doesn't tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds after up to six accidents: bytes changed, numbers made extreme, parts lost, doubled, swapped."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        # Half of the accidents hit the first 128 bytes, where formats keep their sizes.
        end = len(content) if draw(st.booleans()) else min(len(content), 128)
        at = draw(st.integers(0, max(0, end - 1)))
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(["flip", "extreme", "cut", "lose", "double", "splice"])):
            case "flip":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "extreme":
                width = draw(st.sampled_from([2, 4]))
                number = draw(st.sampled_from(EXTREMES)) % 256**width
                content[at : at + width] = number.to_bytes(width, draw(st.sampled_from(["little", "big"])))
            case "cut":
                del content[at:]
            case "lose":
                del content[at : at + length]
            case "double":
                content[at:at] = content[at : at + length] * draw(st.sampled_from([1, 2, 100]))
            case "splice":
                other = draw(st.sampled_from(seeds))
                content[at:] = other[draw(st.integers(0, len(other) - 1)) :]
    return bytes(content)


# ----------------------------------------------------------------------------------------------------------- pictures


def encoded(format_name: str, mode: str = "RGB", frames: int = 1, **options: Any) -> bytes:
    rng = np.random.default_rng(0)
    pictures_ = [
        Image.fromarray(rng.integers(0, 256, (24, 32, 4), np.uint8), "RGBA").convert(mode) for _ in range(frames)
    ]
    if frames > 1:
        options |= {"save_all": True, "append_images": pictures_[1:]}
    content = io.BytesIO()
    pictures_[0].save(content, format_name, **options)
    return content.getvalue()


def picture_seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a photo on its side"
    return [
        encoded("JPEG", exif=exif),
        encoded("JPEG", "L", progressive=True),
        encoded("JPEG", "CMYK"),
        encoded("PNG", "RGBA"),
        encoded("PNG", "P"),
        encoded("PNG", "I;16"),
        encoded("PNG", frames=3),
        encoded("WEBP", exif=exif),
        encoded("WEBP", "RGBA", frames=3, lossless=True),
        encoded("GIF", "P", frames=3),
        encoded("TIFF"),
        encoded("TIFF", "RGBA", compression="tiff_lzw"),
        encoded("TIFF", "L", compression="tiff_adobe_deflate", frames=2),
        encoded("BMP"),
        encoded("BMP", "P"),
        encoded("PPM"),
        encoded("TGA", compression="tga_rle"),
        encoded("JPEG2000"),
        encoded("AVIF", quality=50),
    ]


@pytest.mark.parametrize("load", [images.load_image, pictures.load_picture])
def test_pictures(load: Callable[..., object], fuzz: Any, tmp_path: Path) -> None:
    path = tmp_path / "picture"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with bounded(megabytes=200), contextlib.suppress(ImageError):
            load(path, max_pixels=1_000_000)

    fuzz(damaged(picture_seeds()), check)


# -------------------------------------------------------------------------------------------------- files of weights


def style_fields() -> dict[str, Any]:
    torch.manual_seed(0)
    options = {"content": True, "scales": 2, "width": 2, "noise_channels": 1}
    return {
        "format": "texturenet",
        "version": 1,
        "name": "checks",
        "generator": {"name": "pyramid", "options": options},
        "weights": Pyramid(**options).state_dict(),
        "recipe": {"noise_factor": 1.0},
        "perceptual": {"name": "lite", "source": "test"},
        "photos": {"count": 3, "fingerprint": "0" * 16},
        "step": 7,
    }


def saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def load_style(path: Path) -> None:
    checkpoint.build_generator(checkpoint.load(path))


def test_checkpoint_bytes(fuzz: Any, tmp_path: Path) -> None:
    path = tmp_path / "style.pt"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with bounded(megabytes=100), contextlib.suppress(checkpoint.CheckpointError):
            load_style(path)

    fuzz(damaged([saved(style_fields())]), check)


def test_checkpoint_pickles(fuzz: Any, tmp_path: Path) -> None:
    """Damage in the pickle alone, which an archive's checksum would else stop."""
    path = tmp_path / "style.pt"
    with zipfile.ZipFile(io.BytesIO(saved(style_fields()))) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in records if name.endswith("/data.pkl"))

    def check(content: bytes) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, record in (records | {pickled: content}).items():
                archive.writestr(name, record)
        with bounded(megabytes=100), contextlib.suppress(checkpoint.CheckpointError):
            load_style(path)

    fuzz(damaged([records[pickled]]), check)


numbers = st.integers(-(2**70), 2**70) | st.integers(-3, 20) | st.floats() | st.booleans()
scalars = (
    st.none() | numbers | st.text(max_size=8) | st.sampled_from(["..", "a/b", "\x00", "x" * 5000, "pyramid", "batch"])
)
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
tensors = st.sampled_from(
    [torch.zeros(0), torch.zeros(2, 2, 3, 3), torch.zeros(3, dtype=torch.int64), torch.zeros(1).expand(10**12)]
)


@st.composite
def replaced(draw: st.DrawFn, original: Any, anything: st.SearchStrategy[Any]) -> Any:
    """The same nesting with one to three values, at any depth, replaced, lost or under another key."""
    copy = json_like(original)
    for _ in range(draw(st.integers(1, 3))):
        here = copy
        while isinstance(here, dict) and here:
            key = draw(st.sampled_from(sorted(here, key=str)))
            if isinstance(here[key], dict | list) and here[key] and draw(st.integers(0, 3)):
                here = here[key] if isinstance(here[key], dict) else dict(enumerate(here[key]))
                continue
            match draw(st.sampled_from(["replace", "replace", "replace", "lose", "rename"])):
                case "replace":
                    here[key] = draw(anything)
                case "lose":
                    del here[key]
                case "rename":
                    here[draw(st.text(max_size=8) | st.integers(0, 5))] = here.pop(key)
            break
    return copy


def json_like(value: Any) -> Any:
    """A copy of nested dicts and lists; what is in them stays."""
    if isinstance(value, dict):
        return {key: json_like(item) for key, item in value.items()}
    return [json_like(item) for item in value] if isinstance(value, list) else value


def test_checkpoint_fields(fuzz: Any, tmp_path: Path) -> None:
    path = tmp_path / "style.pt"
    photo = torch.zeros(1, 3, 24, 24)

    def check(fields: Any) -> None:
        path.write_bytes(saved(fields))
        with bounded(megabytes=100), contextlib.suppress(ValueError):
            style = Stylizer(path)
            assert Path(style.name).name == style.name
            style(photo) if style.paints_photos else style.synthesize(24, 24)

    fuzz(replaced(style_fields(), plain | tensors), check)


def test_perceptual_weights(fuzz: Any, tmp_path: Path) -> None:
    state = {
        "features.0.weight": torch.zeros(64, 3, 3, 3),
        "features.0.bias": torch.zeros(64),
        "conv1_1.x": torch.zeros(1),
    }
    path = tmp_path / "vgg.pth"
    whole = [saved(state), saved(state, _use_new_zipfile_serialization=False)]

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with bounded(megabytes=100), contextlib.suppress(ValueError):
            perceptual.load_encoder(weights_path=path)

    fuzz(damaged(whole) | replaced(state, plain | tensors).map(saved), check)


def onnx_style() -> bytes:
    """The smallest style: it gives the photo back."""
    value = onnx.helper.make_tensor_value_info
    inputs = [value("photo", onnx.TensorProto.FLOAT, [1, 3, "h", "w"])]
    inputs += [value("noise_0", onnx.TensorProto.FLOAT, [1, 1, "h", "w"])]
    outputs = [value("picture", onnx.TensorProto.FLOAT, [1, 3, "h", "w"])]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["photo"], ["picture"])], "style", inputs, outputs
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    numbers = {
        "noise_factor": "1.0",
        "noise_channels": "1",
        "noise_multiple": "2",
        "noise_levels": "1",
        "channels": "4",
    }
    properties = {"format": "texturenet", "version": "1", "name": "checks", "recipe": '{"noise_factor": 1.0}'}
    onnx.helper.set_model_props(model, properties | numbers)
    content: bytes = model.SerializeToString()
    return content


def test_onnx_files(fuzz: Any, tmp_path: Path) -> None:
    path = tmp_path / "style.onnx"
    photo = np.zeros((1, 3, 16, 16), np.float32)

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with bounded(megabytes=100), contextlib.suppress(OnnxStyleError):
            style = OnnxStyle(path)
            style(photo if style.content else None, style.make_noise(1, 16, 16, 0))

    check(onnx_style())
    fuzz(damaged([onnx_style()]), check)


# ----------------------------------------------------------------------------------------------- data and recipes


COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}, {"id": 2, "file_name": "b.jpg"}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 3, "segmentation": [[0, 0, 9, 0, 9, 9]], "area": 40}],
    "categories": [{"id": 3, "name": "dog", "supercategory": "animal"}],
}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    (tmp_path / "train2017").mkdir()
    (tmp_path / "annotations").mkdir()
    for name in "ab":
        images.save_image(torch.zeros(3, 24, 24), tmp_path / "train2017" / f"{name}.jpg")
    return tmp_path


def test_coco_json(fuzz: Any, coco: Path) -> None:
    path = coco / "annotations" / "instances_train2017.json"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        for categories in ((), ("dog",)):
            with bounded(megabytes=100), contextlib.suppress(ValueError):
                data.find_photos(coco, categories)
        with bounded(megabytes=100), contextlib.suppress(ValueError):
            segments.Segments(path, ["dog"]).mask(Path("a.jpg"))

    written = replaced(COCO, plain | st.lists(st.lists(numbers, max_size=8), max_size=3)).map(
        lambda value: json.dumps(value).encode()
    )
    fuzz(damaged([json.dumps(COCO).encode(), b"[" * 100_000]) | written, check)


def test_labelled_archives(fuzz: Any, tmp_path: Path) -> None:
    path = tmp_path / "pictures.npz"
    jpeg = np.frombuffer(encoded("JPEG"), np.uint8)
    arrays = {
        "jpeg": np.tile(jpeg, 2),
        "offset": np.array([0, len(jpeg), 2 * len(jpeg)]),
        "label": np.array([0, 1]),
        "wnid": np.array(["n01", "n02"]),
    }
    seeds = []
    for save in (np.savez, np.savez_compressed):
        save(path, **arrays)
        seeds.append(path.read_bytes())

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with bounded(megabytes=100), contextlib.suppress(ValueError):
            found = labelled.open_labelled(path)
            for number in range(len(found.labels)):
                found.open(number, 16)

    fuzz(damaged(seeds), check)


@pytest.mark.parametrize("owner", [config.Recipe, config.Run, config.PretrainRecipe])
def test_recipes(owner: type, fuzz: Any) -> None:
    def check(values: Any) -> None:
        with bounded(megabytes=50), contextlib.suppress(ValueError):
            config.to_plain(config.from_plain(owner, values))

    fuzz(replaced(config.to_plain(owner()), plain), check)


def test_flags(fuzz: Any) -> None:
    parser = argparse.ArgumentParser()
    config.add_flags(parser, config.Recipe, config.Run)
    flags = [f"--{spec.name}" for owner in (config.Recipe, config.Run) for spec in dataclasses.fields(owner)]
    words = st.lists(st.sampled_from(flags) | numbers.map(str) | st.text(max_size=6), max_size=6)

    def check(typed: list[str]) -> None:
        quiet = contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO())
        with bounded(megabytes=50), contextlib.suppress(ValueError, SystemExit), quiet[0], quiet[1]:
            config.Recipe(**config.given(parser.parse_args(typed), config.Recipe))

    fuzz(words, check)
