import argparse
from typing import Any

import pytest

from texturenet.config import add_flags, given
from texturenet.look import Look


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strength": 1.5}, "--strength 1.5 is outside 0 .* to 1"),
        ({"strength": -0.1}, "--strength -0.1 is outside"),
        ({"strength": float("nan")}, "--strength nan is outside"),
        ({"mask": "m.png", "segments": "s.json", "segments_category": "dog"}, "give one of them"),
        ({"segments": "s.json"}, "--segments FILE and --segments_category NAME go together"),
        ({"segments_category": "dog"}, "go together"),
        ({"mask_invert": True}, "--mask_invert needs --mask FILE or --segments FILE"),
        ({"grid": True, "compare": True}, "leave --compare and masks out"),
        ({"grid": True, "mask": "m.png"}, "leave --compare and masks out"),
    ],
)
def test_contradictions(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Look(**values)


def test_every_field_is_a_flag() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, Look)
    words = "--strength 0.5 --preserve_color hist --work_size 300 --mask m.png --mask_invert --compare"
    look = Look(**given(parser.parse_args(words.split()), Look))
    assert (look.strength, look.preserve_color, look.work_size) == (0.5, "hist", 300)
    assert look.masked and look.mask_invert and look.compare and not look.grid
    assert given(parser.parse_args([]), Look) == {}
