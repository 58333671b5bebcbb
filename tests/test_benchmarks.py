import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import picture
from torch import nn

from benchmarks import __main__ as command
from benchmarks import growth, limits, plain, quality, report, startup, stylization, timing, training
from benchmarks.cells import Cell
from benchmarks.timing import Contender, Failed, Measured, Runner, interleaved
from texturenet import generators
from texturenet.devices import resolve_precision
from texturenet.learner import perceptual_loss

CPU = torch.device("cpu")
MB = 10**6


# ------------------------------------------------------------------------------------------------------ the baselines


def test_plain_pyramid_is_ours() -> None:
    ours, net = generators.Pyramid(upsampling="bilinear").eval(), plain.Pyramid().eval()
    net.load_state_dict(ours.state_dict())
    photo, noise = picture(72, 100, batch=2), generators.make_noise(ours, 2, 72, 100, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(net(photo, noise), ours(photo, noise), atol=1e-4, rtol=0)
        assert (net(photo) - net(photo)).abs().max() > 1e-3  # it draws noise of its own, where none is given


def test_johnsons_network_has_the_weights_of_pytorch_examples() -> None:
    net = plain.Johnson()
    assert sum(weight.numel() for weight in net.parameters()) == 1_679_235
    assert net(picture(32, 48)).shape == (1, 3, 32, 48)


@pytest.mark.parametrize("name", training.ENCODERS)
def test_plain_loss_is_ours(name: str) -> None:
    encoder, texture = training.encoder(name), picture(32, 32, 5)
    numbers = training.recipe(name, 32, 2)
    loss = perceptual_loss(numbers, encoder, texture, with_photos=True)
    painting, photo = picture(32, 32, 1, batch=2), picture(32, 32, 2, batch=2)
    expected = loss(painting, loss.content_features(photo))["total"].item()
    assert training.plain_loss(encoder, texture, numbers, CPU)(painting, photo).item() == pytest.approx(expected, 1e-4)


def test_activations_of_random_weights_keep_their_size() -> None:
    encoder = training.encoder("vgg19")
    features = encoder(picture(64, 64), encoder.style_layers)
    sizes = [maps.square().mean().item() for maps in features.values()]
    assert max(sizes) < 100 * min(sizes)


def test_both_scripts_train_alike() -> None:
    runs = quality.compare(3, 64, 1, 1, CPU)
    assert runs["ours"].held_out == pytest.approx(runs["plain"].held_out, rel=0.02)
    assert runs["ours"].smoothed == pytest.approx(runs["plain"].smoothed, rel=0.02)
    assert runs["plain, other noise"].smoothed != runs["plain"].smoothed


# --------------------------------------------------------------------------------------------------------- the limits


def test_work_of_a_convolution() -> None:
    conv, image = nn.Conv2d(3, 4, 3, padding=1, bias=False).to("meta"), torch.empty((1, 3, 8, 8), device="meta")
    forward = limits.work(lambda: conv(image))
    assert forward == limits.Work(flops=2 * 3 * 9 * 4 * 64, values=3 * 64 + 3 * 9 * 4 + 4 * 64)
    both = limits.work(lambda: conv(image).sum().backward())
    # Backwards to the weights alone: the map above and the image are read, the gradient is written.
    assert both == limits.Work(2 * forward.flops, 2 * forward.values)


def test_work_grows_with_pixels_and_training() -> None:
    small, large = stylization.works(64, 64, 1), stylization.works(128, 64, 2)
    for name in plain.NETWORKS:
        assert large[name].flops == 4 * small[name].flops
    assert training.works("lite", 64, 1)["plain"].flops > 3 * small["plain"].flops


def test_limit_is_the_longer_time_of_the_faster_type() -> None:
    rates = limits.Rates(gemm={"fp32": 1e9, "bf16": 2e9}, copy=1e9)
    assert limits.limit(limits.Work(flops=10**9, values=10**6), rates) == limits.Limit(0.5, "arithmetic", "bf16")
    assert limits.limit(limits.Work(flops=10**6, values=10**9), rates) == limits.Limit(2.0, "bytes", "bf16")


def test_what_takes_long_is_not_tried_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for elapsed, tries in ((0.1, limits.TRIES), (limits.ENOUGH, 1)):
        calls: list[object] = []
        monkeypatch.setattr(limits, "seconds", lambda run, _, elapsed=elapsed: calls.append(run) or elapsed)  # noqa: B023
        assert limits._shortest(lambda: None, CPU) == elapsed
        assert len(calls) == tries


def test_rates_are_measured() -> None:
    rates = limits.measure(CPU, size=64, copied=2**16)
    assert min(rates.gemm.values()) > 1e6
    assert rates.copy > 1e6


# --------------------------------------------------------------------------------------------------------- in turn


def _sleepless() -> timing.Run:
    return lambda: None


def _large(megabytes: int) -> timing.Run:
    return lambda: torch.ones(megabytes * MB // 4)


def _broken() -> timing.Run:
    raise RuntimeError("no such thing\nat all")


def _dying() -> timing.Run:
    return lambda: os._exit(9)


def _leaking(megabytes: int) -> timing.Run:
    kept: list[torch.Tensor] = []
    return lambda: kept.append(torch.ones(megabytes * MB // 4))


def test_contenders_in_processes_of_their_own() -> None:
    contenders = [
        Contender("light", _sleepless),
        Contender("heavy", partial(_large, 300), needed=1),
        Contender("broken", _broken),
        Contender("dying", _dying),
        Contender("huge", _sleepless, needed=2**60),
    ]
    rounds = []
    found = interleaved(contenders, 3, CPU, tick=lambda: rounds.append(1))
    assert {name: len(one.seconds) for name, one in found.items()} == {
        "light": 3,
        "heavy": 3,
        "broken": 0,
        "dying": 0,
        "huge": 0,
    }
    assert len(rounds) == 3
    assert found["heavy"].peak > 290 * MB > 10 * found["light"].peak
    assert found["broken"].reason == "no such thing"
    assert "ended with code 9" in found["dying"].reason
    assert "takes about 1073741824 GB" in found["huge"].reason


def test_nothing_runs_where_no_baseline_fits() -> None:
    found = interleaved([Contender("ours", _dying), Contender("plain", _dying, needed=2**60)], 2, CPU)
    assert all(one.reason.startswith("left out") for one in found.values())


def test_what_is_left_out_is_no_effort() -> None:
    def effort(needed: int) -> int:
        contenders = [Contender("ours", _sleepless), Contender("plain", _sleepless, needed=needed)]
        return Cell("8x8", 1, 64, contenders, {"plain": limits.Work(10, 0)}, 3).effort(CPU)

    assert (effort(1), effort(2**60)) == (60, 0)


def test_one_process_for_all() -> None:
    """As on a GPU."""
    runner = Runner([Contender("light", _sleepless), Contender("heavy", partial(_large, 40))], CPU)
    assert runner.ask("heavy").seconds > runner.ask("light").seconds > 0


def test_ratio_is_taken_within_rounds() -> None:
    slow_day = Measured([2.0, 20.0, 3.0]), Measured([1.0, 10.0, 1.0])
    assert slow_day[0].ratio(slow_day[1]) == 2


def test_a_leak_is_seen() -> None:
    def grown(start: Callable[[int], timing.Run]) -> int:
        """In a process of its own: this one may have memory to spare, of tests before."""
        return growth.alone(Contender("it", partial(start, 40)), 10, CPU, None, lambda: None).growth

    assert abs(grown(_large)) < 10 * MB
    assert grown(_leaking) > 200 * MB


def test_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_amx_fp16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: True)

    def names() -> set[str]:
        cells = [stylization.contenders(Path("style"), 64, 64, 1, CPU), training.contenders("lite", 64, 1, CPU)]
        return {contender.name for contenders in cells for contender in contenders}

    baselines = {"plain", "Johnson", training.WITH_VGG19}
    assert names() == {"ours", "ours without bf16"} | baselines
    stylization.mask_bf16()
    assert resolve_precision("auto", CPU) == torch.float32
    assert names() == {"ours"} | baselines


@pytest.mark.parametrize(("text", "size"), [("64", (64, 64)), ("96x64", (64, 96)), ("4K", (2160, 3840))])
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert stylization.parse_size(text) == size


@pytest.mark.parametrize("text", ["63", "66x64", "32", "big", "64x64x64"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        stylization.parse_size(text)


# --------------------------------------------------------------------------------------------------------- the command

TINY = "--sizes 64 96x64 --batches 1 2 --crops 64 --encoders lite --batch_size 1 --rounds 2 --starts 1 --pictures 8"
TINY += " --steps 2 --quality_steps 1 --quality_size 64 --quality_seeds 2"


def test_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(limits, "GEMM_SIZE", {"cpu": 128})
    assert command.main([*TINY.split(), "--output", str(tmp_path)]) == 0
    run = json.loads((tmp_path / report.ROUNDS).read_text())["cpu"]
    assert set(command.PARTS) < set(run)
    cells = run["stylization"]["cells"] + run["training"]["cells"]
    assert [(cell["name"], cell["batch"]) for cell in cells] == [
        ("64x64", 1),
        ("96x64", 1),
        ("64x64", 2),
        ("96x64", 2),
        ("lite, 64x64", 1),
    ]
    for cell in cells:
        for one in cell["contenders"].values():
            assert len(one["seconds"]) == 2 and min(one["seconds"]) > 0 and one["peak"] > 0
        assert cell["limits"]["plain"]["seconds"] > 0
    assert run["stylization"]["difference"]["mean"] < 0.01
    assert run["startup"]["`stylize.py --help`"]["seconds"][0] < run["startup"]["one 512x512 picture"]["seconds"][0]
    assert run["memory"]["pictures"]["count"] == 8
    assert (tmp_path / report.TABLE).read_text().count("| 96x64 |") == 2
    assert "96x64, batch 2: pictures/s" in capsys.readouterr().out


def test_what_takes_too_much_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 43200000000 bytes")

    monkeypatch.setattr(quality, "compare", full)
    with pytest.raises(ValueError, match="quality: cpu ran out of memory: ask for less of it"):
        command.main(["--parts", "quality", "--output", str(tmp_path)])


def test_a_command_that_fails() -> None:
    command = startup.Command("no program", ["no_program.py"], None)
    with pytest.raises(Failed, match=r"no_program\.py: .*No such file"):
        startup.measure([command], 1, None)


def _row(name: str, **contenders: dict[str, Any]) -> dict[str, Any]:
    bound = {"seconds": 0.5, "by": "arithmetic", "dtype": "fp32"}
    return {"name": name, "batch": 2, "pixels": 10**6, "contenders": contenders, "limits": {"plain": bound}}


def _one(*seconds: float, peak: int = 0, reason: str = "") -> dict[str, Any]:
    return {"seconds": list(seconds), "peak": peak, "reason": reason}


RUN: dict[str, Any] = {
    "machine": {"chip": "a chip"},
    "rates": {"gemm": {"fp32": 2e9}, "copy": 3e9},
    "stylization": {
        "cells": [
            _row(
                "8x8",
                ours=_one(1, 2, 3, peak=400 * MB),
                plain=_one(3, 6, 9, peak=900 * MB),
                Johnson=_one(reason="takes 9 GB"),
            ),
        ],
        "difference": {"mean": 1e-5, "greatest": 1e-4},
    },
}


def _rows(text: str) -> dict[str, list[str]]:
    """Cells of each table row by the first."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in lines}


def test_table_of_one_device() -> None:
    text = report.markdown({"cpu": RUN})
    figures = ["2", "1", "3.00", "takes 9 GB", "", "400 / 900 / -", "4.0 (arithmetic, fp32)"]
    assert [cell.strip() for cell in _rows(text)["8x8"]][:7] == figures
    assert f"GPU ({report.NOT_MEASURED})" in text
    assert "2.0 GFLOP/s fp32" in text


def test_table_of_both_devices() -> None:
    text = report.markdown({"cpu": RUN, "cuda": RUN | {"machine": {"chip": "a GPU"}}})
    assert report.NOT_MEASURED not in text
    cells = _rows(text)["8x8"]
    assert cells[1:7] == cells[7:13]
    assert _rows(text)["chip"] == ["a chip", "a GPU"]


def test_lite_against_vgg19() -> None:
    timed = {"ours": _one(1, 2), "plain": _one(3, 6), "Johnson": _one(4, 8)}
    cells = [_row("vgg19, 8x8", **timed), _row("lite, 8x8", **timed, **{training.WITH_VGG19: _one(12, 26)})]
    text = report.markdown({"cpu": {"machine": {"chip": "a chip"}, "training": {"cells": cells}}})
    assert [line for line in text.splitlines() if line.startswith("CPU:")] == [
        "CPU: lite, 8x8, batch 2: plain with vgg19 / ours is 12.50."
    ]
    assert report.line(cells[1]).endswith(", plain with vgg19 / ours 12.50")
    cells[1]["contenders"][training.WITH_VGG19] = _one(reason="takes 9 GB")
    assert report.line(cells[1]).endswith(", plain with vgg19 / ours takes 9 GB")


def test_parts_are_kept_for_the_same_machine(tmp_path: Path) -> None:
    started = {"startup": {"a command": {"seconds": [1.0, 2.0, 4.0], "target": 3.0}}}
    report.save(tmp_path, "cpu", RUN)
    report.save(tmp_path, "cpu", {"machine": RUN["machine"]} | started)
    text = (tmp_path / report.TABLE).read_text()
    assert "8x8" in text
    assert _rows(text)["a command"] == ["2.00", "under 3 s: yes"]
    report.save(tmp_path, "cpu", {"machine": {"chip": "another"}} | started)
    assert "8x8" not in (tmp_path / report.TABLE).read_text()


def test_wrong_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="63: give multiples of 4"):
        command.main(["--sizes", "63"])
    with pytest.raises(SystemExit):
        command.main(["--rounds", "0"])
    assert "0 is less than 1" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------- for long


@pytest.fixture
def asked_for(request: pytest.FixtureRequest) -> None:
    expression = request.config.option.markexpr
    if "slow" not in expression or "not slow" in expression:
        pytest.skip("takes minutes: pytest -m slow")


@pytest.mark.slow
@pytest.mark.usefixtures("asked_for")
@pytest.mark.parametrize(("name", "count"), [("pictures", 1000), ("steps", 2000)])
def test_memory_does_not_grow(name: str, count: int, tmp_path: Path) -> None:
    style = tmp_path / "style.pt"
    stylization.write_style(style)
    contenders = {contender.name: contender for contender in growth.contenders(style, CPU)}
    found = growth.alone(contenders[name], count, CPU, None, lambda: None)
    assert found.growth < 8 * MB
