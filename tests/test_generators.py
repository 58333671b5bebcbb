import pytest
import torch
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from texturenet import config
from texturenet.generators import (
    GENERATORS,
    NORMALIZATIONS,
    PADDINGS,
    UPSAMPLINGS,
    Generator,
    Pyramid,
    Residual,
    enlarged,
    make_noise,
    pad_to,
)

SMALL = {"pyramid": {"scales": 4, "width": 4}, "residual": {"width": 4, "blocks": 1}}
each_way = pytest.mark.parametrize(
    ("name", "options"), [(name, {"upsampling": each}) for name in GENERATORS for each in UPSAMPLINGS], ids=str
)


def small(name: str, **options: object) -> Generator:
    torch.manual_seed(0)
    return GENERATORS[name](**(SMALL[name] | options)).eval()


def test_names_are_the_flags() -> None:
    assert tuple(GENERATORS) == config.GENERATORS
    fields = {spec.name: spec.metadata["choices"] for spec in config.fields(config.Recipe)}
    assert fields["normalization"] == tuple(NORMALIZATIONS)
    assert fields["padding"] == PADDINGS
    assert fields["upsampling"] == UPSAMPLINGS


@pytest.mark.parametrize("name", GENERATORS)
@settings(max_examples=25, deadline=None)
@given(height=st.integers(16, 90), width=st.integers(16, 90))
def test_any_size_in_the_same_size_out(name: str, height: int, width: int) -> None:
    generator, photo = small(name), picture(height, width)
    with torch.no_grad():
        result = generator(photo, make_noise(generator, 1, height, width, seed=0))
    assert result.shape == photo.shape
    assert 0 <= result.min() <= result.max() <= 1


def test_the_default_pyramid_takes_16_px_and_says_what_is_too_small() -> None:
    generator = Pyramid().eval()
    with torch.no_grad():
        assert generator(picture(16, 16), make_noise(generator, 1, 16, 16, 0)).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="15x40 px is too small: it takes at least 16x16"):
        make_noise(generator, 1, 40, 15, 0)


@pytest.mark.parametrize("name", GENERATORS)
def test_noise_is_all_the_randomness(name: str) -> None:
    generator, photo = small(name), picture(32, 48)
    with torch.no_grad():
        first, again, other = (generator(photo, make_noise(generator, 1, 32, 48, seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_noise_is_uniform_times_its_factor() -> None:
    noise = make_noise(Pyramid(scales=3), 2, 64, 128, seed=0, noise_factor=2.0)
    assert [tuple(level.shape) for level in noise] == [(2, 3, 64, 128), (2, 3, 32, 64), (2, 3, 16, 32)]
    assert noise[0].min() >= 0 and 1.9 < noise[0].max() < 2
    assert noise[0].mean() == pytest.approx(1.0, abs=0.02)


def test_noise_of_the_coarsest_scales_alone() -> None:
    """The network that hears the others too paints the same while they are even: a norm takes their mean away."""
    few, all_scales, photo = small("pyramid", noise_scales=2), small("pyramid"), picture(40, 48)
    assert few.noise_shapes(40, 48) == [(0, 40, 48), (0, 20, 24), (3, 10, 12), (3, 5, 6)]
    weights = few.state_dict()
    for scale in (0, 1):
        name = f"enter.{scale}.0.0.weight"
        weights[name] = torch.cat([weights[name], torch.rand(4, 3, 3, 3)], dim=1)
    all_scales.load_state_dict(weights)
    noise = make_noise(few, 1, 40, 48, seed=1)
    drawn = make_noise(all_scales, 1, 40, 48, seed=1)
    assert all(torch.equal(one, other) for one, other in zip(noise[2:], drawn[2:], strict=True))
    silent = [torch.full_like(level, 0.3) for level in drawn[:2]]
    with torch.no_grad():
        result = few(photo, noise)
        assert torch.allclose(all_scales(photo, silent + drawn[2:]), result, atol=1e-5)
        assert not torch.allclose(few(photo, make_noise(few, 1, 40, 48, seed=2)), result, atol=1e-3)
    with pytest.raises(ValueError, match="noise_scales 5 of 4 scales: there are no more"):
        small("pyramid", noise_scales=5)
    with pytest.raises(ValueError, match="without a photo each of them has to have noise"):
        small("pyramid", noise_scales=3, content=False)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("content", [True, False])
def test_gradient_reaches_every_parameter(name: str, content: bool) -> None:
    generator = small(name, content=content).train()
    photo = picture(32, 32, batch=2) if content else None
    result = generator(photo, make_noise(generator, 2, 32, 32, 0))
    (result * picture(32, 32, 5)).sum().backward()
    assert [n for n, p in generator.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_parameter_counts() -> None:
    """Ulyanov et al. speak of about 65 thousand for five scales of noise; texture_nets' pyramid has 116,915."""

    def count(generator: Generator) -> int:
        return sum(parameter.numel() for parameter in generator.parameters())

    assert count(Pyramid(content=False, scales=5)) == 71_203
    assert count(Pyramid()) == 117_599
    assert count(Residual()) == 1_685_423


@each_way
def test_a_texture_of_circular_padding_tiles(name: str, options: dict[str, str]) -> None:
    """Shifting the noise around the edge shifts the picture around the edge, so edge meets edge like any neighbours."""
    generator = small(name, content=False, padding="circular", **options)
    noise = make_noise(generator, 1, 64, 64, 0)
    shifted = [level.roll(level.shape[-1] // 2, dims=-1) for level in noise]
    with torch.no_grad():
        assert torch.allclose(generator(None, noise).roll(32, dims=-1), generator(None, shifted), atol=1e-4)


def test_a_map_enlarged_bilinearly_has_no_blocks() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    large = enlarged(x, "bilinear", "reflect")
    assert large.shape == (1, 1, 6, 8)
    assert large[0, 0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    around = enlarged(x, "bilinear", "circular")
    assert torch.equal(around[..., 2:-2, 2:-2], large[..., 2:-2, 2:-2])
    assert around[0, 0, 2].tolist() == pytest.approx([3.75, 3.25, 3.75, 4.25, 4.75, 5.25, 5.75, 5.25])
    assert enlarged(x, "nearest", "circular")[0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for name in GENERATORS:
        with pytest.raises(ValueError, match="unknown upsampling 'cubic'; choose from bilinear, nearest"):
            small(name, upsampling="cubic")


def unpainted(photo: Tensor) -> Tensor:
    """What a pyramid makes of a photo when all that reaches the picture is the photo's light."""
    generator = Pyramid()
    torch.nn.init.zeros_(generator.to_rgb.weight)
    torch.nn.init.zeros_(generator.to_rgb.bias)
    with torch.no_grad():
        return generator(photo, make_noise(generator, 1, *photo.shape[-2:], 0))


def test_the_light_of_a_photo_passes_around_the_network() -> None:
    photo = picture(64, 64)  # no reflection needed
    result = unpainted(photo)
    for channel in range(3):
        assert torch.equal(result[0, channel].flatten().argsort(), photo[0, channel].flatten().argsort())
    assert torch.allclose(unpainted(0.2 + 0.7 * photo), result, atol=0.03)  # a veil is taken off
    flat = 0.5 + 0.002 * picture(64, 64, 1)
    assert unpainted(flat).std() < 0.01  # the noise of a wall is not stretched to full contrast


@each_way
def test_layout_is_no_part_of_the_result(name: str, options: dict[str, str]) -> None:
    """In channels_last each picture of a batch is normalised by itself, as in NCHW."""
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        generator = small(name, **options).to(memory_format=layout)
        result = generator(picture(40, 48, batch=3), make_noise(generator, 3, 40, 48, 0))
        result.square().mean().backward()
        results.append([result, *(parameter.grad for parameter in generator.parameters())])
    largest = max(gradient.abs().max() for gradient in results[0][1:])
    assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
    assert all((a - b).abs().max() < 1e-4 * largest for a, b in zip(*results, strict=True))


@given(st.integers(1, 20), st.integers(0, 60))
def test_pad_to_reflects(size: int, extra: int) -> None:
    row = torch.arange(float(size)).view(1, 1, 1, size)
    padded = pad_to(row, 1, size + extra)[0, 0, 0]
    assert torch.equal(padded[:size], row[0, 0, 0])
    if size > 1:
        assert ((padded[1:] - padded[:-1]).abs() == 1).all()  # neighbours stay neighbours
    if 0 < extra < size:
        assert torch.equal(padded, torch.nn.functional.pad(row, (0, extra, 0, 0), mode="reflect")[0, 0, 0])


def test_photo_or_no_photo_is_part_of_the_network() -> None:
    with pytest.raises(ValueError, match="takes no photo"):
        generator = small("pyramid", content=False)
        generator(picture(32, 32), make_noise(generator, 1, 32, 32, 0))
    with pytest.raises(ValueError, match="was given none"):
        generator = small("pyramid")
        generator(None, make_noise(generator, 1, 32, 32, 0))


def test_noise_of_a_part_is_that_of_the_batch() -> None:
    generator = Pyramid(scales=2, width=4)
    whole = make_noise(generator, 5, 20, 16, seed=3, noise_factor=0.5)
    part = make_noise(generator, 5, 20, 16, seed=3, noise_factor=0.5, part=slice(2, 4))
    assert all(torch.equal(one, other[2:4]) for one, other in zip(part, whole, strict=True))
