"""Clips of ten small frames, made here, through `video.stylize` with painters whose result is known."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from conftest import held_elsewhere, picture
from test_doors import door
from test_stylizer import save_style
from torch import Tensor

from texturenet import clips, images, video
from texturenet.stylizer import Stylizer

RATE = 10
STYLIZE: dict[str, object] = {"steady": False, "segment_seconds": 0.3, "quality": 100}


def negative(frame: Tensor) -> Tensor:
    return 1 - frame


def scene(height: int = 36, width: int = 48) -> list[Tensor]:
    """A picture that gets brighter, of faint colours: video stores them at half the resolution."""
    colours = picture(height, width)
    faint = torch.lerp(colours.mean(dim=1, keepdim=True), colours, 0.2)
    return [faint * (0.5 + i / 20) for i in range(10)]


def make(
    path: Path,
    frames: list[Tensor],
    codec: str = "libx264",
    times: list[int] | None = None,
    sound: str | None = None,
    layout: str = "mono",
    turn: tuple[float, bool] | None = None,
    **context: object,
) -> Path:
    """A file of these frames, at RATE or at `times` in milliseconds; sound is a tone, turn (degrees, mirrored)."""
    height, width = frames[0].shape[-2:]
    with av.open(path, "w") as file:
        stream = file.add_stream(codec, rate=RATE, options={"crf": "1"} if codec == "libx264" else {})
        stream.width, stream.height = width, height
        stream.pix_fmt = {"gif": "rgb8", "libx264": "yuv444p"}.get(codec, "yuv420p")
        stream.codec_context.max_b_frames = 0
        stream.codec_context.time_base = Fraction(1, 1000)
        if codec != "gif":
            stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        if turn:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        if sound:
            voice = file.add_stream(sound, rate=48_000, layout=layout)
        for i, frame in enumerate(frames):
            rgb = (frame[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            image = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            image = image.reformat(
                format=stream.pix_fmt, dst_colorspace=1 if codec != "gif" else None, dst_color_range=1
            )
            image.pts, image.time_base = times[i] if times else 1000 * i // RATE, Fraction(1, 1000)
            file.mux(stream.encode(image))
        file.mux(stream.encode(None))
        if sound:
            wave = np.sin(np.arange(48_000 * len(frames) // RATE) / 20).astype(np.float32)[None]
            tone = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 48_000, 0
            fitted = av.AudioResampler(voice.codec_context.format.name, layout, 48_000, voice.codec_context.frame_size)
            for part in [*fitted.resample(tone), *fitted.resample(None)]:
                file.mux(voice.encode(part))
            file.mux(voice.encode(None))
    return path


def frames_of(path: Path) -> list[Tensor]:
    return [frame for _, frame in clips.read(clips.survey(path), denoise=False)]


def times_of(path: Path) -> list[float]:
    clip = clips.survey(path)
    return [float(pts * clip.time_base) for pts, _ in clips.read(clip, denoise=False)]


def difference(one: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).abs().mean()) for a, b in zip(one, other, strict=True))


def sound_of(path: Path) -> list[bytes]:
    with av.open(path) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.dts is not None]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "clip.mp4", scene(), sound="aac")


@pytest.mark.parametrize("suffix", sorted(video.SUFFIXES))
def test_every_container(clip: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / "new" / f"painted{suffix}"
    video.stylize(negative, clip, target, **STYLIZE)  # type: ignore[arg-type]
    tolerance = 0.05 if suffix == ".gif" else 0.02
    assert difference(frames_of(target), [1 - frame for frame in scene()]) < tolerance
    start = times_of(target)[0]  # Matroska has no times below zero, where AAC begins: all is later by 21 ms
    assert start == pytest.approx(0.021 if suffix == ".mkv" else 0, abs=0.001)
    assert [time - start for time in times_of(target)] == pytest.approx(times_of(clip), abs=0.006)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    with av.open(target) as file:
        assert file.duration == pytest.approx(1_000_000, abs=110_000 if suffix == ".gif" else 30_000)


@pytest.mark.parametrize("source", ["clip.webm", "clip.gif", "clip.avi", "clip.mkv", "clip.ts"])
def test_every_source(tmp_path: Path, source: str) -> None:
    codec = {"clip.webm": "libvpx-vp9", "clip.gif": "gif", "clip.avi": "mpeg4"}.get(source, "libx264")
    context = {"time_base": Fraction(1, RATE)} if codec == "mpeg4" else {}
    path = make(tmp_path / source, scene(), codec, **context)
    video.stylize(negative, path, tmp_path / "out.mp4", **STYLIZE)  # type: ignore[arg-type]
    tolerance = 0.07 if codec == "gif" else 0.02  # its colours are of single dots
    assert difference(frames_of(tmp_path / "out.mp4"), [1 - frame for frame in frames_of(path)]) < tolerance
    assert times_of(tmp_path / "out.mp4") == pytest.approx([i / RATE for i in range(10)], abs=0.001)


# --- sound ------------------------------------------------------------------------------------------------------------


def test_sound_is_copied(clip: Path, tmp_path: Path) -> None:
    said: list[str] = []
    for suffix in (".mp4", ".mov", ".mkv"):
        target = tmp_path / f"out{suffix}"
        video.stylize(negative, clip, target, say=said.append, **STYLIZE)  # type: ignore[arg-type]
        assert sound_of(target) == sound_of(clip)
    assert said == []


def test_sound_that_does_not_fit_is_encoded_again(clip: Path, tmp_path: Path) -> None:
    said: list[str] = []
    video.stylize(negative, clip, tmp_path / "out.webm", say=said.append, **STYLIZE)  # type: ignore[arg-type]
    assert len(said) == 1
    assert "its sound was aac, which webm does not hold: encoded again as libopus" in said[0]
    with av.open(tmp_path / "out.webm") as file:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert len(wave) == pytest.approx(48_000, abs=2000)
    assert np.abs(np.fft.rfft(wave)).argmax() * 48_000 / len(wave) == pytest.approx(48_000 / 20 / 2 / np.pi, abs=2)


@pytest.mark.parametrize(
    ("source", "codec", "suffix"),
    [
        ("old.avi", "pcm_s16le", ".mp4"),  # two channels without names
        ("old.avi", "adpcm_ms", ".mp4"),
        ("old.avi", "adpcm_ms", ".mkv"),
        ("new.mkv", "flac", ".mov"),
    ],
)
def test_sound_that_a_container_only_claims_to_hold(tmp_path: Path, source: str, codec: str, suffix: str) -> None:
    picture_codec = {"time_base": Fraction(1, RATE)}
    path = make(tmp_path / source, scene(), "mpeg4", sound=codec, layout="stereo", **picture_codec)
    said: list[str] = []
    target = tmp_path / f"out{suffix}"
    video.stylize(negative, path, target, say=said.append, **STYLIZE)  # type: ignore[arg-type]
    assert len(said) == 1 and f"its sound was {codec}, which" in said[0] and said[0].endswith("encoded again as aac")
    with av.open(target) as file:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert len(wave) == pytest.approx(48_000, abs=3000) and np.abs(wave[5000:-5000]).max() > 0.5


def test_a_gif_has_no_sound(clip: Path, tmp_path: Path) -> None:
    said: list[str] = []
    video.stylize(negative, clip, tmp_path / "out.gif", say=said.append, **STYLIZE)  # type: ignore[arg-type]
    assert len(said) == 1
    assert "a GIF has no sound" in said[0]


# --- what comes back as it was ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turn", "upright"),
    [
        ((0, False), lambda x: x),
        ((90, False), lambda x: x.rot90(1, (2, 3))),
        ((180, False), lambda x: x.rot90(2, (2, 3))),
        ((-90, False), lambda x: x.rot90(-1, (2, 3))),
        ((0, True), lambda x: x.flip(3)),
    ],
)
def test_turned_clips_come_out_upright(
    tmp_path: Path, turn: tuple[float, bool], upright: Callable[[Tensor], Tensor]
) -> None:
    path = make(tmp_path / "clip.mp4", scene(), turn=turn)
    video.stylize(lambda frame: frame, path, tmp_path / "out.mp4", **STYLIZE)  # type: ignore[arg-type]
    assert difference(frames_of(tmp_path / "out.mp4"), [upright(frame) for frame in scene()]) < 0.02
    with av.open(tmp_path / "out.mp4") as file:
        assert next(file.decode(video=0)).rotation == 0


def test_a_frame_rate_that_varies(tmp_path: Path) -> None:
    times = [0, 40, 120, 125, 300, 700, 701, 800, 1500, 1533]
    path = make(tmp_path / "clip.mkv", scene(), times=times)
    for suffix in (".mp4", ".webm", ".mkv"):
        video.stylize(negative, path, tmp_path / f"out{suffix}", **STYLIZE)  # type: ignore[arg-type]
        assert times_of(tmp_path / f"out{suffix}") == pytest.approx([time / 1000 for time in times], abs=1e-4)


def test_a_late_picture_stays_late(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mkv", scene(), times=[500 + 100 * i for i in range(10)], sound="aac")
    video.stylize(negative, path, tmp_path / "out.mkv", **STYLIZE)  # type: ignore[arg-type]
    assert times_of(tmp_path / "out.mkv")[0] == pytest.approx(0.5, abs=0.03)  # the tone starts it


@pytest.mark.parametrize(("suffix", "told"), [(".mp4", 1), (".webm", 0), (".gif", 0)])
def test_odd_sizes(tmp_path: Path, suffix: str, told: int) -> None:
    said: list[str] = []
    path = make(tmp_path / "clip.mkv", scene(35, 47))
    video.stylize(negative, path, tmp_path / f"out{suffix}", say=said.append, **STYLIZE)  # type: ignore[arg-type]
    assert frames_of(tmp_path / f"out{suffix}")[0].shape == (1, 3, 35, 47)
    assert len(said) == told
    assert not told or "47x35, an odd size, in full colours" in said[0]


def test_size_is_the_longer_side(clip: Path, tmp_path: Path) -> None:
    video.stylize(negative, clip, tmp_path / "out.mp4", size=32, **STYLIZE)  # type: ignore[arg-type]
    assert frames_of(tmp_path / "out.mp4")[0].shape == (1, 3, 24, 32)


def test_pixels_become_square(tmp_path: Path) -> None:
    path = make(tmp_path / "clip.mp4", scene(), sample_aspect_ratio=Fraction(4, 3))
    video.stylize(negative, path, tmp_path / "out.mp4", **STYLIZE)  # type: ignore[arg-type]
    assert frames_of(tmp_path / "out.mp4")[0].shape == (1, 3, 36, 64)


@pytest.mark.parametrize(("matrix", "full"), [(1, 1), (5, 1), (5, 2), (9, 1)])
def test_colours_in_every_matrix_and_range(tmp_path: Path, matrix: int, full: int) -> None:
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    frame = colours.T[None, :, None, :].repeat_interleave(16, 3).expand(1, 3, 32, 80)
    path = tmp_path / "clip.mkv"
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 80, 32, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, full
        image = av.VideoFrame.from_ndarray(
            (frame[0] * 255).byte().permute(1, 2, 0).contiguous().numpy(), format="rgb24"
        )
        image = image.reformat(format="yuv444p", dst_colorspace=matrix, dst_color_range=full)
        image.pts = 0
        file.mux(stream.encode(image))
        file.mux(stream.encode(None))
    assert difference(frames_of(path), [frame]) < 0.01
    video.stylize(lambda frame: frame, path, tmp_path / "out.mp4", **STYLIZE)  # type: ignore[arg-type]
    middle = frames_of(tmp_path / "out.mp4")[0][..., 8::16]  # between the blocks 4:2:0 mixes them
    assert difference([middle], [frame[..., 8::16]]) < 0.02


# --- steady -----------------------------------------------------------------------------------------------------------


def test_a_still_scene_flickers_less_than_its_noise(tmp_path: Path) -> None:
    noise = torch.Generator().manual_seed(0)
    still = [(picture(36, 48) + 0.01 * torch.randn(1, 3, 36, 48, generator=noise)).clamp(0, 1) for _ in range(10)]
    path = make(tmp_path / "clip.mkv", still)
    steady = [frame for _, frame in clips.read(clips.survey(path), denoise=True)]
    alone = frames_of(path)

    def change(frames: list[Tensor]) -> float:
        return difference(frames[1:], frames[:-1])

    assert change(steady) < 0.6 * change(alone)


def test_denoising_leaves_motion_alone(tmp_path: Path) -> None:
    moving = [picture(36, 96)[..., 4 * i : 4 * i + 48] for i in range(10)]
    path = make(tmp_path / "clip.mkv", moving)
    steady = [frame for _, frame in clips.read(clips.survey(path), denoise=True)]
    assert difference(steady, frames_of(path)) < 0.01


def test_a_style_as_users_have_it(clip: Path, tmp_path: Path) -> None:
    style = Stylizer(save_style(tmp_path / "style.pt"))
    target = tmp_path / "out.mp4"
    video.stylize(lambda frame: style(frame, seed=3), clip, target, segment_seconds=0.3)
    first = next(clips.read(clips.survey(clip), denoise=True))[1]
    assert difference(frames_of(target)[:1], [style(first, seed=3)]) < 0.06  # colours at half the resolution


# --- going on ---------------------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def killed_after(frames: int, paint: Callable[[Tensor], Tensor] = negative) -> Callable[[Tensor], Tensor]:
    left = iter(range(frames))

    def dying(frame: Tensor) -> Tensor:
        if next(left, None) is None:
            raise Killed
        return paint(frame)

    return dying


def counted(paint: Callable[[Tensor], Tensor] = negative) -> tuple[Callable[[Tensor], Tensor], list[int]]:
    calls: list[int] = []

    def counting(frame: Tensor) -> Tensor:
        calls.append(1)
        return paint(frame)

    return counting, calls


@pytest.fixture
def halted(clip: Path, tmp_path: Path) -> Path:
    """The target of a run that was killed at its eighth frame, two segments of three frames done."""
    target = tmp_path / "out.mp4"
    with pytest.raises(Killed):
        video.stylize(killed_after(8), clip, target, **STYLIZE)  # type: ignore[arg-type]
    assert not target.exists()
    return target


def test_a_killed_run_goes_on(clip: Path, halted: Path) -> None:
    paint, calls = counted()
    said: list[str] = []
    video.stylize(paint, clip, halted, say=said.append, **STYLIZE)  # type: ignore[arg-type]
    assert said == [f"{halted}: goes on after 6 of 10 frames"]
    assert len(calls) == 1 + 4
    assert difference(frames_of(halted), [1 - frame for frame in scene()]) < 0.02
    assert times_of(halted) == times_of(clip)
    assert sorted(path.name for path in halted.parent.iterdir()) == ["clip.mp4", "out.mp4"]


def test_a_clip_that_another_run_is_painting(clip: Path, halted: Path) -> None:
    lock = halted.with_name(f".{halted.name}.lock")
    taken = r"out.mp4: another run is painting it; wait for that one"
    with held_elsewhere(lock), pytest.raises(ValueError, match=taken):
        video.stylize(negative, clip, halted, **STYLIZE)  # type: ignore[arg-type]
    assert (halted.parent / f".{halted.name}.parts" / "000001.nut").exists()


def test_transparency_is_told_to_be_left_out(tmp_path: Path) -> None:
    path, said = tmp_path / "clip.mov", list[str]()
    with av.open(path, "w") as file:
        stream = file.add_stream("png", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 48, 36, "rgba"
        for _ in range(3):
            values = np.full((36, 48, 4), 128, dtype=np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="rgba")))
        file.mux(stream.encode(None))
    video.stylize(negative, path, tmp_path / "out.mp4", say=said.append, **STYLIZE)  # type: ignore[arg-type]
    assert said == [f"{tmp_path / 'out.mp4'}: the transparency of {path} is left out, as of any video"]


def test_a_stopped_run_tells_that_it_goes_on(clip: Path, tmp_path: Path) -> None:
    def stopping(frame: Tensor) -> Tensor:
        try:
            return dying(frame)
        except Killed:
            raise KeyboardInterrupt from None

    dying, target, said = killed_after(8), tmp_path / "out.mp4", list[str]()
    with pytest.raises(KeyboardInterrupt):
        video.stylize(stopping, clip, target, say=said.append, **STYLIZE)  # type: ignore[arg-type]
    assert said == [f"{target}: 6 of 10 frames are kept, and the same command goes on after them"]


@pytest.mark.parametrize("side_by_side", [False, True])
def test_going_on_gives_the_same_clip(clip: Path, tmp_path: Path, side_by_side: bool) -> None:
    style = Stylizer(save_style(tmp_path / "style.pt"))
    whole, halved = tmp_path / "whole.mp4", tmp_path / "halved.mp4"
    video.stylize(style, clip, whole, segment_seconds=0.3)
    options: dict[str, object] = {"segment_seconds": 0.3, "side_by_side": side_by_side}
    with pytest.raises(Killed):
        video.stylize(killed_after(6, style), clip, halved, **options)  # type: ignore[arg-type]
    video.stylize(style, clip, halved, **options)  # type: ignore[arg-type]
    assert difference(frames_of(whole), frames_of(halved)) == 0


@pytest.mark.parametrize("other", ["paint", "painter", "quality", "source"])
def test_segments_of_another_run_are_not_used(clip: Path, halted: Path, other: str) -> None:
    if other == "source":
        make(clip, list(reversed(scene())), sound="aac")
    paint, calls = counted(torch.zeros_like if other == "paint" else negative)
    options = STYLIZE | {"quality": {"quality": 90}, "painter": {"painter": "another"}}.get(other, {})
    video.stylize(paint, clip, halted, **options)  # type: ignore[arg-type]
    assert len(calls) == 1 + 10


def test_an_old_result_stays_until_the_new_one_is_whole(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    with pytest.raises(Killed):
        video.stylize(killed_after(9), clip, target, **STYLIZE)  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["mp4", "faststart", "webm", "mkv"])
def cut(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file without its last third."""
    source = tmp_path / f"whole.{'mp4' if request.param == 'faststart' else request.param}"
    make(source, scene(), "libvpx-vp9" if request.param == "webm" else "libx264")
    if request.param == "faststart":
        video.stylize(negative, source, tmp_path / "fast.mp4", **STYLIZE)  # type: ignore[arg-type]
        source = tmp_path / "fast.mp4"
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 2 // 3])
    yield source


def test_a_cut_file(cut: Path, tmp_path: Path) -> None:
    with pytest.raises(
        (ValueError, OSError), match=r"(is cut short after|can't be read as a video|has no frames).*again"
    ) as refused:
        video.stylize(negative, cut, tmp_path / "out.mp4", **STYLIZE)  # type: ignore[arg-type]
    assert str(cut) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("content", [b"", b"no video", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"])
def test_what_is_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"clip.mp4: can't be read as a video"):
        video.stylize(negative, path, tmp_path / "out.mp4")


@pytest.mark.parametrize("name", ["photo.jpg", "clip.mp4"])
def test_a_picture_is_called_one(tmp_path: Path, name: str) -> None:
    images.save_image(picture(24, 32), tmp_path / "photo.jpg")
    (tmp_path / "photo.jpg").rename(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}: is a picture, no video: end its name .* in .jpg or .png"):
        video.stylize(negative, tmp_path / name, tmp_path / "out.mp4")


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_an_animation_is_told_what_it_can_become(tmp_path: Path, suffix: str) -> None:
    first, second = (images.to_pil(picture(24, 32, seed)) for seed in (0, 1))
    path = tmp_path / f"moving.{suffix}"
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(ValueError, match=rf"is an animated {suffix.upper()}, no video: .* in .gif, .png or .webp"):
        video.stylize(negative, path, tmp_path / "out.mp4")


def test_sound_alone_and_nothing_at_all(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(path, "w") as file:
        voice = file.add_stream("aac", rate=48_000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 48_000
        file.mux(voice.encode(tone))
        file.mux(voice.encode(None))
    with pytest.raises(ValueError, match="has no picture, only audio"):
        video.stylize(negative, path, tmp_path / "out.mp4")
    with pytest.raises(OSError, match=r"nowhere.mp4: could not be read: No such file"):
        video.stylize(negative, tmp_path / "nowhere.mp4", tmp_path / "out.mp4")


def test_targets_that_are_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out.avi: can't be written as a video; end its name in .mp4, "):
        video.stylize(negative, clip, tmp_path / "out.avi")
    with pytest.raises(ValueError, match="would replace the video itself"):
        video.stylize(negative, clip, clip)


def test_a_target_that_the_disk_refuses(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"(Not a directory|File exists); choose another folder"):
        video.stylize(negative, clip, tmp_path / "file" / "out.mp4", **STYLIZE)  # type: ignore[arg-type]
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(OSError, match=r"can't write .*out.mp4: Is a directory"):
        video.stylize(negative, clip, tmp_path / "out.mp4", **STYLIZE)  # type: ignore[arg-type]


def test_stylize_door(clip: Path, tmp_path: Path) -> None:
    save_style(tmp_path / "style.pt")
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:2000])
    ended = door("stylize.py", "--model", "style.pt", "clip.mp4", "cut.mp4", "-o", "out", "--cpu", cwd=tmp_path)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "stylize.py: error: cut.mp4: can't be read as a video" in ended.stderr
    assert len(frames_of(tmp_path / "out" / "clip-checks.mp4")) == 10
    assert sound_of(tmp_path / "out" / "clip-checks.mp4") == sound_of(clip)


def test_without_pyav(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "texturenet.clips", None)
    monkeypatch.delattr("texturenet.clips", raising=False)
    with pytest.raises(ValueError, match=r"videos need PyAV.*pip install av"):
        video.stylize(negative, clip, tmp_path / "out.mp4")
