from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from PIL import Image
from torch import Tensor

from texturenet import blending, checkpoint, devices, images, styles, stylizer, tiles
from texturenet.checkpoint import CheckpointError
from texturenet.generators import Pyramid
from texturenet.stylizer import Stylizer

SAMPLE = Path(__file__).parents[1] / "data/sample/val2017/000000000049.jpg"


def save_style(path: Path, seed: int = 0, **options: Any) -> Path:
    """An untrained style: what stylizer.py does with a network does not depend on what it learned."""
    options = {"content": True, "scales": 3, "width": 4} | options
    torch.manual_seed(seed)
    checkpoint.save(
        path,
        name="checks",
        generator={"name": "pyramid", "options": options},
        weights=Pyramid(**options).state_dict(),
        recipe={"noise_factor": 1.0},
        perceptual={"name": "lite", "source": "test"},
        step=1,
    )
    return path


@pytest.fixture
def style(tmp_path: Path) -> Stylizer:
    return Stylizer(save_style(tmp_path / "style.pt"))


def test_same_seed_same_picture(style: Stylizer) -> None:
    photo = picture(37, 51)
    assert style(photo).shape == photo.shape
    assert torch.equal(style(photo, seed=3), style(photo, seed=3))
    assert not torch.equal(style(photo, seed=3), style(photo, seed=4))


def test_noise_factor_has_an_effect(style: Stylizer) -> None:
    photo = picture(32, 32)
    plain, strong = style(photo, noise_factor=0.0), style(photo, noise_factor=2.0)
    assert torch.equal(style(photo, noise_factor=1.0), style(photo))
    assert (plain - strong).abs().mean() > 0.005
    assert torch.equal(plain, style(photo, seed=9, noise_factor=0.0))


def test_a_pil_picture_comes_back_as_one(style: Stylizer) -> None:
    photo = images.to_pil(picture(37, 51))
    painted = style(photo, seed=3)
    assert isinstance(painted, Image.Image) and painted.size == (51, 37)
    assert painted.tobytes() == images.to_pil(style(images.to_tensor(photo), seed=3)).tobytes()
    assert style(photo.convert("L")).mode == "RGB"


@pytest.mark.parametrize(
    ("photo", "options", "error", "message"),
    [
        ("img.jpg", {}, TypeError, "give a PIL picture, or a tensor .*, and no str"),
        (torch.zeros(3, 32, 32), {}, ValueError, r"a tensor \(3, 32, 32\) of torch.float32: give \(1, 3, H, W\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), {}, ValueError, "of torch.uint8: .* floats in"),
        (torch.zeros(1, 3, 32, 32), {"seed": -1}, ValueError, "seed -1: give 0 or more"),
        (torch.zeros(1, 3, 32, 32), {"noise_factor": -1.0}, ValueError, "noise_factor -1: give 0 to 2"),
        (torch.full((1, 3, 32, 32), torch.nan), {}, ValueError, "the photo has values that are no numbers"),
        (torch.zeros(1, 3, 32, 32), {"work_size": 0}, ValueError, "work_size 0: give a whole number"),
        (torch.zeros(1, 3, 32, 32), {"work_size": 32.5}, ValueError, "work_size 32.5: give a whole number"),
        (torch.zeros(1, 3, 32, 32), {"mask": "mask.png"}, TypeError, "mask: give a PIL picture, or .*, and no str"),
        (
            torch.zeros(1, 3, 32, 32),
            {"mask": torch.ones(32, 32)},
            ValueError,
            r"a mask \(32, 32\): give \(1, 1, h, w\)",
        ),
        (torch.zeros(1, 3, 32, 32), {"mask": torch.full((1, 1, 32, 32), 255.0)}, ValueError, "from 255 to 255"),
        (torch.zeros(1, 3, 32, 32), {"mask": torch.full((1, 1, 32, 32), torch.nan)}, ValueError, "from nan to nan"),
    ],
)
def test_what_is_no_picture(
    style: Stylizer, photo: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        style(photo, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "foo"}, "unknown device 'foo'; choose from auto, cpu"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; choose from auto, fp32"),
    ],
)
def test_what_is_no_device_or_precision(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stylizer(save_style(tmp_path / "style.pt"), **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_size(style: Stylizer, dtype: torch.dtype) -> None:
    photo = picture(32, 32).to(dtype)
    painted = style(photo)
    assert painted.dtype == dtype
    assert torch.equal(painted, style(photo.float()).to(dtype))


def test_a_mask_in_any_form_is_what_the_flag_makes_of_it(style: Stylizer, capsys: pytest.CaptureFixture[str]) -> None:
    photo = images.to_pil(picture(32, 32))
    half = torch.zeros(1, 1, 32, 32)
    half[..., :16] = 1
    values = (half[0, 0] * 255).byte().numpy()
    painted = style(photo, mask=half)
    assert painted.tobytes() not in (photo.tobytes(), style(photo).tobytes())
    white = Image.new("LA", (32, 32), (255, 0))
    white.paste((255, 255), (0, 0, 16, 32))
    for mask in (half.bool(), half.double(), Image.fromarray(values), Image.fromarray(values // 255), white):
        assert style(photo, mask=mask).tobytes() == painted.tobytes()
    assert capsys.readouterr().err == "a mask with values of 0 and 1 alone: 1 is taken as white\n"
    grey = Image.fromarray(np.full((32, 32), 30000, dtype=np.uint16))  # of 65535
    apart = style(photo, mask=torch.full((1, 1, 32, 32), round(30000 / 257) / 255))
    assert np.abs(np.asarray(style(photo, mask=grey)).astype(int) - np.asarray(apart)).max() <= 1


def test_controls_reach_the_painting(style: Stylizer) -> None:
    """What each does is tested in test_blending.py."""
    photo = picture(40, 56)
    painting = style(photo)
    assert torch.equal(style(photo, strength=0), photo)
    assert torch.equal(style(photo, strength=1), painting)
    assert torch.equal(style(photo, preserve_color="luma"), blending.keep_chroma(photo, painting))
    left = Image.new("L", (56, 40))
    left.paste(255, (0, 0, 20, 40))
    masked = style(photo, mask=left)
    assert torch.equal(masked[..., :20], painting[..., :20]) and torch.equal(masked[..., 20:], photo[..., 20:])
    assert torch.equal(masked, style(photo, mask=images.to_tensor(left)[:, :1]))
    coarse = style(photo, work_size=28)
    assert coarse.shape == photo.shape and not torch.equal(coarse, painting)


def test_threads_share_a_style(style: Stylizer) -> None:
    jobs = [(picture(32 + 8 * i, 48, seed=i), i) for i in range(6)]
    alone = [style(photo, seed) for photo, seed in jobs]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda job: style(*job), jobs))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_texture_of_any_size(tmp_path: Path) -> None:
    style = Stylizer(save_style(tmp_path / "style.pt", content=False, padding="circular"))
    assert not style.paints_photos
    assert style.synthesize(50, 70).shape == (1, 3, 50, 70)


def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of a few rows, and nothing reserved for torch's own needs, which no small picture comes near."""
    monkeypatch.setitem(tiles.STRIP_VALUES, "cpu", 2000)
    monkeypatch.setitem(tiles.STRIP_VALUES, "other", 2000)
    monkeypatch.setattr(tiles, "_LOW_STRIP_VALUES", 2000)
    monkeypatch.setattr(tiles, "_FIXED", 0)


def test_a_style_takes_a_photo_or_makes_a_texture(tmp_path: Path, style: Stylizer) -> None:
    with pytest.raises(ValueError, match="checks paints photos and makes no texture alone"):
        style.synthesize(32, 32)
    texture = Stylizer(save_style(tmp_path / "texture.pt", content=False))
    with pytest.raises(ValueError, match="checks makes a texture and takes no photo"):
        texture(picture(32, 32))
    with pytest.raises(ValueError, match="a texture of 64x-5 px: give 1 px or more"):
        texture.synthesize(-5, 64)
    with pytest.raises(ValueError, match="px does not fit the memory"):
        texture.synthesize(10**7, 10**7)


def test_what_memory_does_not_hold_is_painted_in_strips(
    style: Stylizer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = picture(90, 120)
    whole = style(photo)
    small_strips(monkeypatch)
    monkeypatch.setattr(devices, "free_memory", lambda _device: 2 * 10**6)  # four maps take 4 * 12 * 4 * 10800
    assert capsys.readouterr().err == ""
    assert (style(photo) - whole).abs().max() < 1e-5
    assert capsys.readouterr().err == "120x90 px: memory is short; painting in strips, which takes longer\n"
    eight_bits = images.to_tensor(style(images.to_pil(photo)))
    assert (eight_bits - whole).abs().mean() < 1 / 255
    style(picture(60, 60))
    assert "60x60" not in capsys.readouterr().err


def test_max_memory_is_of_the_whole_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_strips(monkeypatch)
    monkeypatch.setattr(devices, "used_memory", lambda _device: 10**9)
    path = save_style(tmp_path / "style.pt")
    photo = picture(90, 120)
    Stylizer(path, max_memory=10**9 + 10**7)(photo)
    assert capsys.readouterr().err == ""
    Stylizer(path, max_memory=10**9 + 10**6)(photo)
    assert "painting in strips" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"120x90 px takes at least .* GB and 0.0 GB are left on cpu; .*--max_memory"):
        Stylizer(path, max_memory=9 * 10**8)(photo)
    assert capsys.readouterr().err == ""


def test_out_of_memory_falls_back_to_strips(
    style: Stylizer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = picture(50, 70)
    whole = style(photo)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Stylizer, "_always_in_strips", False)  # as on a GPU
    monkeypatch.setattr(style.generator, "forward", full)
    assert (style(photo) - whole).abs().max() < 1e-5
    assert capsys.readouterr().err == "70x50 px: cpu ran out of memory; painting in strips, which takes longer\n"
    monkeypatch.setattr(tiles.F, "conv2d", full)
    with pytest.raises(ValueError, match="cpu ran out of memory even in strips of 70x50 px"):
        style(photo)


def test_noise_is_drawn_once_for_many_frames(style: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, drawn = stylizer.make_noise, []

    def counted(*wanted: Any) -> list[Tensor]:
        drawn.append(wanted[2:6])
        return draw(*wanted)

    monkeypatch.setattr(Stylizer, "_always_in_strips", False)  # as on a GPU
    monkeypatch.setattr(stylizer, "make_noise", counted)
    first, second = picture(50, 70), picture(50, 70).flip(3)
    alone = [style(first, seed=1), style(second, seed=2)]
    drawn.clear()
    assert torch.equal(style(second, seed=2), alone[1])
    assert torch.equal(style(first, seed=1), alone[0])
    style(second, seed=1)
    style(first[..., :60], seed=1)
    style(first[..., :60], seed=1, noise_factor=0.3)
    assert drawn == [(50, 70, 1, 1.0), (50, 60, 1, 1.0), (50, 60, 1, 0.3)]


def test_a_huge_texture_comes_in_strips_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    style = Stylizer(save_style(tmp_path / "style.pt", content=False, padding="circular"))
    whole = style.synthesize(90, 121)
    small_strips(monkeypatch)
    monkeypatch.setattr(devices, "free_memory", lambda _device: 2 * 10**6)
    assert (style.synthesize(90, 121) - whole).abs().max() < 1e-5


def test_what_is_no_generator_runs_in_one_piece(style: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX file's network can't be taken apart."""
    style.generator = SimpleNamespace(content=True, channels=12, noise_shapes=style.generator.noise_shapes)
    monkeypatch.setattr(devices, "free_memory", lambda _device: 10**9)
    with pytest.raises(ValueError, match=r"2000x1500 px takes at least 1.1 GB and 0.8 GB are left"):
        style(torch.zeros(1, 3, 1500, 2000))


def test_too_large_even_for_strips(style: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda _device: 300 * 2**20)
    with pytest.raises(ValueError, match=r"4000x3000 px takes at least 0.3 GB and 0.3 GB are left on cpu; .*--size"):
        style(torch.zeros(1, 3, 3000, 4000))
    style(torch.zeros(1, 3, 64, 64))


def test_damaged_weights_give_no_picture(tmp_path: Path) -> None:
    path = save_style(tmp_path / "style.pt")
    fields = checkpoint.load(path)
    fields["weights"]["to_rgb.bias"][0] = float("nan")
    checkpoint.save(path, **{name: value for name, value in fields.items() if name not in ("format", "version")})
    with pytest.raises(ValueError, match="its weights are damaged"):
        Stylizer(path)(picture(32, 32))


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        Stylizer(tmp_path / "nowhere.pt")


@pytest.mark.parametrize("style", styles.shipped(), ids=lambda path: path.stem)
def test_half_precision_is_the_same_picture(style: Path) -> None:
    """On any CPU; by default only where it is faster."""
    photo = images.load_image(SAMPLE, 190)
    exact, half = (Stylizer(style, precision=precision)(photo) for precision in ("fp32", "bf16"))
    assert 0 < (exact - half).abs().mean() < 1 / 255


def test_values_beyond_float16_are_painted_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a GPU paints, on a CPU."""
    monkeypatch.setattr(Stylizer, "_always_in_strips", False)
    path, photo = save_style(tmp_path / "style.pt"), picture(40, 50)
    exact, style = Stylizer(path, precision="fp32")(photo), Stylizer(path, precision="fp32")
    style._dtype = torch.float16
    assert 0 < (style(photo) - exact).abs().max() < 2 / 255
    assert capsys.readouterr().err == ""

    fields = checkpoint.load(path)
    fields["weights"]["enter.0.0.0.weight"] *= 1e6  # the norm that follows divides by as much
    checkpoint.save(path, **{name: value for name, value in fields.items() if name not in ("format", "version")})
    exact, style = Stylizer(path, precision="fp32")(photo), Stylizer(path, precision="fp32")
    style._dtype = torch.float16
    for _ in range(2):
        assert torch.equal(style(photo), exact)
    assert capsys.readouterr().err.count("beyond what float16 holds; painting in float32") == 1


def test_by_default_a_chip_that_is_slow_in_it_is_spared_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, photo = save_style(tmp_path / "style.pt"), picture(40, 50)
    exact, half = (Stylizer(path, precision=precision)(photo) for precision in ("fp32", "bf16"))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    for amx, gains, expected in ((False, False, exact), (False, True, half), (True, False, half)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(devices, "gains_from_bf16", lambda gains=gains: gains)
        assert torch.equal(Stylizer(path)(photo), expected)


@pytest.mark.parametrize(("mode", "value"), [("I;16", 0x8080), ("L", 0x80), ("RGBA", (0, 0, 0, 127))])
def test_a_pil_picture_of_any_mode(style: Stylizer, mode: str, value: Any) -> None:
    """As its file would be read: 16 bits are scaled, and what is transparent lies over white."""
    grey = Image.new("RGB", (32, 32), (128, 128, 128))
    assert style(Image.new(mode, (32, 32), value)).tobytes() == style(grey).tobytes()


def test_a_precision_that_a_device_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    style_path = save_style(tmp_path / "style.pt")
    Stylizer(style_path, precision="fp16")
    assert capsys.readouterr().err == "a CPU paints in bf16 where fp16 is asked for\n"
    Stylizer(style_path, precision="fp32")
    assert capsys.readouterr().err == ""
