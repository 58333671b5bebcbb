import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texturenet.noise import draw_rows, padded_size


@given(channels=st.integers(1, 4), width=st.integers(1, 33), cut=st.integers(0, 7))
def test_rows_drawn_alone_are_those_of_the_whole(channels: int, width: int, cut: int) -> None:
    shape = (channels, 7, width)
    whole = draw_rows(shape, 1, 0, 7, seed=3, batch_size=2)
    assert whole.shape == (2, *shape)
    above, below = draw_rows(shape, 1, 0, cut, 3, 2), draw_rows(shape, 1, cut, 7, 3, 2)
    assert np.array_equal(np.concatenate([above, below], axis=2), whole)


def test_uniform_and_its_own_for_every_seed_level_and_picture() -> None:
    shape = (3, 64, 64)
    maps = [draw_rows(shape, level, 0, 64, seed)[0] for seed in (0, 1, -1) for level in (0, 1)]
    maps.append(draw_rows(shape, 0, 0, 64, seed=0, batch_size=2)[1])
    for values in maps:
        assert values.dtype == np.float32
        assert values.min() >= 0 and values.max() < 1
        assert values.mean() == pytest.approx(0.5, abs=0.01)
        assert values.var() == pytest.approx(1 / 12, abs=0.003)
    distances = [np.abs(a - b).mean() for i, a in enumerate(maps) for b in maps[:i]]
    assert min(distances) > 0.3  # 1/3 where they are independent


def test_a_seed_means_the_same_picture_for_ever() -> None:
    assert draw_rows((1, 2, 2), 0, 0, 2, seed=0).ravel().tolist() == pytest.approx(
        [0.850624, 0.636962, 0.511136, 0.269787], abs=1e-6
    )


def test_a_picture_without_noise() -> None:
    assert draw_rows((0, 8, 8), 0, 0, 8, seed=0).shape == (1, 0, 8, 8)


@pytest.mark.parametrize(("size", "padded"), [((16, 16), (64, 64)), ((64, 65), (64, 96)), ((97, 31), (128, 64))])
def test_the_next_multiple_and_two_at_least(size: tuple[int, int], padded: tuple[int, int]) -> None:
    assert padded_size(*size, 32) == padded


def test_too_small() -> None:
    with pytest.raises(
        ValueError, match="40x15 px is too small: it takes at least 16x16; enlarge it, or give a larger --size"
    ):
        padded_size(15, 40, 4)
