from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from texturenet.generators import PADDINGS
from texturenet.rows import Map, Rows, around, convolved, convolved_enlarged


def of(whole: Tensor) -> Map:
    return Map(
        (whole.shape[1], whole.shape[2], whole.shape[3]), around(lambda a, b: whole[..., a:b, :], whole.shape[2])
    )


def read(rows: Rows, cuts: list[int]) -> Tensor:
    return torch.cat([rows(first, last) for first, last in pairwise(cuts)], dim=-2)


def test_no_row_is_computed_twice() -> None:
    asked: list[int] = []

    def compute(first: int, last: int) -> Tensor:
        asked.extend(range(first, last))
        return torch.arange(first, last).view(1, 1, -1, 1)

    rows = Map((1, 9, 1), compute).rows
    assert [rows(first, last).flatten().tolist() for first, last in ((0, 3), (1, 6), (5, 6), (5, 9))] == [
        [0, 1, 2],
        [1, 2, 3, 4, 5],
        [5],
        [5, 6, 7, 8],
    ]
    assert asked == list(range(9))
    assert rows(0, 2).flatten().tolist() == [0, 1]  # a new pass begins at the top


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("kernel", "stride"), [(9, 1), (3, 1), (3, 2), (1, 1)])
@settings(max_examples=10, deadline=None)
@given(cuts=st.sets(st.integers(1, 7)))
@torch.no_grad()
def test_a_convolution_cut_anywhere(padding: str, kernel: int, stride: int, cuts: set[int]) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(2, 3, kernel, stride, kernel // 2, padding_mode=padding), torch.rand(1, 2, 16, 10)
    height = 16 // stride
    got = read(convolved(of(x), conv), [0, *sorted(cuts), height])
    assert torch.allclose(got, conv(x), atol=1e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("channels", [0, 2])
@settings(max_examples=20, deadline=None)
@given(cuts=st.sets(st.integers(1, 11)))
@torch.no_grad()
def test_a_convolution_of_an_enlarged_map_cut_anywhere(padding: str, channels: int, cuts: set[int]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels + 4, 3, 3, padding=1, padding_mode=padding, bias=False)
    fine, coarse = torch.rand(1, channels, 12, 10), torch.rand(1, 4, 6, 5)
    whole = conv(torch.cat([fine, torch.nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")], dim=1))
    rows = convolved_enlarged(of(coarse), conv, of(fine) if channels else None)
    assert torch.allclose(read(rows, [0, *sorted(cuts), 12]), whole, atol=1e-6)


def test_around_goes_on_where_the_map_ends() -> None:
    rows = around(lambda first, last: torch.arange(first, last).view(1, 1, -1, 1), 3)
    assert rows(-2, 7).flatten().tolist() == [1, 2, 0, 1, 2, 0, 1, 2, 0]
