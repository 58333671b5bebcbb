import argparse
from dataclasses import fields
from pathlib import Path

import pytest

from texturenet.config import Recipe, Run, add_flags, from_plain, given, to_plain


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_flags(parser, Recipe, Run)
    return parser


def test_every_field_is_a_flag_with_its_default_in_the_help(parser: argparse.ArgumentParser) -> None:
    text = " ".join(parser.format_help().split())
    for owner in (Recipe, Run):
        for spec in fields(owner):
            assert f"--{spec.name}" in text
    for shown in ("(default: 2000)", "(default: 5.0 6.0 2.0 2.0 2.0)", "(default: checkpoints)"):
        assert shown in text


def test_only_what_was_typed_is_given(parser: argparse.ArgumentParser) -> None:
    flags = parser.parse_args(["--style_weights", "1", "2.5", "--iterations", "7", "--perceptual_weights", "a/b.pth"])
    assert given(flags, Recipe) == {
        "style_weights": (1.0, 2.5),
        "iterations": 7,
        "perceptual_weights": Path("a/b.pth"),
    }
    assert given(flags, Run) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--iterations 0", "0 is less than 1"),
        ("--iterations many", "invalid int value: 'many'"),
        ("--tv_weight nan", "nan is less than 0"),
        ("--tv_weight inf", "inf is no finite number"),
        ("--learning_rate nan", "nan is no finite number"),
        ("--generator unet", "invalid choice: 'unet' (choose from 'pyramid', 'residual')"),
    ],
)
def test_a_bad_value_names_itself(
    words: str, message: str, parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_no_flag_of_one_dataclass_hides_another() -> None:
    names = [spec.name for owner in (Recipe, Run) for spec in fields(owner)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", "many"),
        ("iterations", 1.5),
        ("iterations", True),
        ("iterations", None),
        ("style_weights", 5.0),
        ("style_weights", [1.0, "a"]),
        ("learning_rate", float("nan")),
        ("learning_rate", 10**400),
        ("generator", "unet"),
        ("perceptual_weights", {"a": 1}),
        ("style_layers", [["relu1_1"] * 1000] * 1000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_value_out_of_a_file_that_no_flag_could_have(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^the recipe's {field} is .*, which it can't be") as caught:
        from_plain(Recipe, to_plain(Recipe()) | {field: value})
    assert len(str(caught.value)) < 600


def test_fields_of_a_newer_version() -> None:
    with pytest.raises(ValueError, match="unknown recipe fields 3, colour: made by a newer version"):
        from_plain(Recipe, {"colour": 1, 3: 4})
