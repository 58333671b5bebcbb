"""Frames to video files, in segments that are joined at the end, through PyAV (FFmpeg).

A segment is a NUT file, which keeps any codec and any time base exactly; joining encodes nothing again. No B-frames:
then a packet's two timestamps are the same, and segments follow on each other at any frame rate. Sound goes from file
to file, packet by packet, where the target's container holds its codec.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter.context import FilterContext
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from torch import Tensor

from texturenet.clips import SCALING, Clip, filtered, opened


@dataclass(frozen=True)
class Container:
    """What files of one suffix are, by FFmpeg's names."""

    name: str
    picture: str  # codec of the frames
    sound: str  # codec of sound that the container does not hold as it is


# A GIF's palette is of the whole clip, so its segments are lossless and it is made of them at the end.
CONTAINERS = {
    ".mp4": Container("mp4", "libx264", "aac"),
    ".m4v": Container("mp4", "libx264", "aac"),
    ".mov": Container("mov", "libx264", "aac"),
    ".mkv": Container("matroska", "libx264", "aac"),
    ".webm": Container("webm", "libvpx-vp9", "libopus"),
    ".gif": Container("gif", "ffv1", ""),
}
_LAYOUTS = {1: "mono", 2: "stereo"}  # of channels that a file counts and does not name
_TRIED = 8  # packets of a sound track
_OPUS_RATE = 48_000  # Hz, whatever the source's
_GIF_TICK = Fraction(1, 100)  # s
_GIF_SHORTEST = 2  # ticks; browsers show for 1/10 s what is to be shown for less


def container_of(target: Path) -> Container:
    """By its suffix. Raises ValueError that lists them."""
    try:
        return CONTAINERS[target.suffix.lower()]
    except KeyError:
        raise ValueError(f"{target}: can't be written as a video; end its name in {', '.join(CONTAINERS)}") from None


def pixel_format(container: Container, height: int, width: int) -> str:
    """How frames are stored. H.264 has no odd sizes where colours have half the resolution; VP9 has."""
    if container.picture == "ffv1":
        return "bgr0"
    return "yuv444p" if container.picture == "libx264" and (height % 2 or width % 2) else "yuv420p"


def write_segment(
    path: Path, container: Container, clip: Clip, frames: Iterable[tuple[int, Tensor]], quality: int
) -> None:
    """Frames as `clips.read` gives them into one file, whole or not at all; timestamps count from the clip's start.

    quality  1..100. As constant rate factors 95 is 17 of H.264's, 75 is 25, 50 is 35; of VP9's 10 more.
    Raises OSError naming the path.
    """
    factor = 15 + 0.4 * (100 - quality)
    options = {
        "libx264": {"crf": f"{min(factor, 51):.1f}"},
        "libvpx-vp9": {"crf": str(round(min(factor + 10, 63))), "row-mt": "1", "deadline": "good", "cpu-used": "4"},
        "ffv1": {},
    }[container.picture]
    with _written(path, "nut") as output:
        stream = output.add_stream(container.picture, rate=clip.rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = clip.width, clip.height
        stream.pix_fmt = pixel_format(container, clip.height, clip.width)
        context = stream.codec_context
        context.time_base, context.max_b_frames, context.bit_rate = clip.time_base, 0, 0
        if stream.pix_fmt != "bgr0":
            context.colorspace, context.color_primaries, context.color_trc = clip.colors
            context.color_range = ColorRange.MPEG
        for pts, picture in frames:
            frame = _from_tensor(picture, stream.pix_fmt, clip)
            frame.pts, frame.time_base = pts - clip.start, clip.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def join(segments: Sequence[Path], container: Container, clip: Clip, target: Path, say: Callable[[str], None]) -> None:
    """The segments with the sound of the clip as `target`, whole or not at all.

    say  receives a line for sound that is encoded again or left out
    Raises OSError naming the target.
    """
    options = {"movflags": "faststart"} if container.name in ("mp4", "mov") else {}
    with opened(clip.path) as source, opened(segments[0]) as first, _written(target, container.name, options) as output:
        output.metadata.update(source.metadata)
        sounds = source.streams.audio
        if container.name == "gif":
            _write_gif(segments, clip, output)
            if sounds:
                say(f"{target}: a GIF has no sound; end its name in .mp4 or .webm to keep it")
            return
        video = output.add_stream_from_template(first.streams.video[0])
        tracks = [_picture(segments, clip, video)]
        for number, stream in enumerate(sounds):
            if not stream.codec_context:
                say(f"{target}: a sound track of a kind that FFmpeg does not know is left out")
            elif _holds(container, clip.path, number):
                tracks.append(_copied(clip.path, number, output.add_stream_from_template(stream)))
            else:
                say(
                    f"{target}: its sound was {stream.codec_context.name}, which {container.name} does not hold: "
                    f"encoded again as {container.sound}"
                )
                rate = _OPUS_RATE if container.sound == "libopus" else stream.codec_context.sample_rate
                layout = _LAYOUTS.get(stream.codec_context.channels, stream.codec_context.layout.name)
                encoder = output.add_stream(container.sound, rate=rate, layout=layout)
                assert isinstance(encoder, AudioStream)
                tracks.append(_encoded(clip.path, number, encoder))
        origin = Fraction(max(source.start_time or 0, 0), av.time_base)  # a broadcast's clock starts anywhere
        for packet in heapq.merge(*tracks, key=_seconds):
            assert packet.pts is not None and packet.dts is not None
            shift = round(origin / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            output.mux(packet)


@contextlib.contextmanager
def _written(path: Path, name: str, options: dict[str, str] | None = None) -> Iterator[OutputContainer]:
    """A container that takes the place of `path` when it is complete; what goes wrong is an OSError that names it."""
    target = Path(os.path.realpath(path))  # a link stays a link
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with av.open(f"file:{part}", "w", format=name, options=options) as output:
            yield output
        part.replace(target)
    except (av.FFmpegError, OSError) as error:
        raise OSError(f"can't write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _from_tensor(picture: Tensor, pixels: str, clip: Clip) -> VideoFrame:
    rgb = (picture[0] * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()  # (H, W, 3)
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    if pixels == "bgr0":
        return frame.reformat(format=pixels)
    return frame.reformat(
        format=pixels, dst_colorspace=clip.colors[0], dst_color_range=ColorRange.MPEG, interpolation=SCALING
    )


def _picture(segments: Sequence[Path], clip: Clip, video: VideoStream) -> Iterator[Packet[Any]]:
    """The packets of all segments at the clip's own times, each shown until the next one."""

    def packets() -> Iterator[Packet[Any]]:
        for segment in segments:
            with opened(segment) as container:
                yield from (packet for packet in container.demux(video=0) if packet.dts is not None)

    for packet, following in pairwise(chain(packets(), [None])):
        assert packet is not None and packet.dts is not None
        length = clip.last * clip.time_base
        if following is not None:
            length = _seconds(following) - _seconds(packet)
        start = round(clip.start * clip.time_base / packet.time_base)
        packet.pts = packet.dts = packet.dts + start
        packet.duration, packet.stream = round(length / packet.time_base), video
        yield packet


def _seconds(packet: Packet[Any]) -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base


def _holds(container: Container, path: Path, number: int) -> bool:
    """Whether the container takes a sound track as it is: its header and first packets, tried in memory.

    That it knows the codec is not enough: mp4 wants PCM's channels named, which old AVI files do not do, and mov lists
    FLAC and refuses it.
    """
    with opened(path) as source:
        stream = source.streams.audio[number]
        try:
            with av.open(io.BytesIO(), "w", format=container.name) as trial:
                if stream.codec_context.name not in trial.supported_codecs:
                    return False
                track = trial.add_stream_from_template(stream)
                for packet in islice(_copied(path, number, track), _TRIED):
                    trial.mux(packet)
        except av.FFmpegError:
            return False
    return True


def _copied(path: Path, number: int, stream: AudioStream) -> Iterator[Packet[Any]]:
    """The packets of one sound track."""
    with opened(path) as source:
        for packet in source.demux(source.streams.audio[number]):
            if packet.dts is not None:
                packet.stream = stream
                yield packet


def _encoded(path: Path, number: int, stream: AudioStream) -> Iterator[Packet[Any]]:
    """One sound track encoded again."""
    with opened(path) as source:
        for frame in source.decode(source.streams.audio[number]):
            yield from stream.encode(frame)
        yield from stream.encode(None)


def _write_gif(segments: Sequence[Path], clip: Clip, output: OutputContainer) -> None:
    """In two passes, the first for one palette for the whole clip: a palette of each frame's own would flicker.

    Dithered in a fixed pattern: where the clip stands still, so do the dots.
    """
    making = av.filter.Graph()
    source = _buffer(making, clip.width, clip.height)
    making.link_nodes(source, making.add("palettegen", "reserve_transparent=0"), making.add("buffersink")).configure()
    (palette,) = filtered(making, source, _gif_frames(segments))

    using = av.filter.Graph()
    source, colors = _buffer(using, clip.width, clip.height), _buffer(using, palette.width, palette.height)
    dither, sink = using.add("paletteuse", "dither=bayer:bayer_scale=3"), using.add("buffersink")
    source.link_to(dither, 0, 0)
    colors.link_to(dither, 0, 1)
    dither.link_to(sink)
    using.configure()
    colors.push(palette)
    colors.push(None)

    stream = output.add_stream("gif", rate=clip.rate)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "pal8"
    stream.codec_context.time_base = _GIF_TICK
    for frame in filtered(using, source, _gif_frames(segments)):
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def _gif_frames(segments: Sequence[Path]) -> Iterator[VideoFrame]:
    """The segments' frames at a GIF's times; those that come too soon after another are left out."""
    before = -_GIF_SHORTEST
    for segment in segments:
        with opened(segment) as container:
            for frame in container.decode(video=0):
                assert frame.pts is not None and frame.time_base is not None
                tick = round(frame.pts * frame.time_base / _GIF_TICK)
                if tick - before >= _GIF_SHORTEST:
                    frame.pts, frame.time_base, before = tick, _GIF_TICK, tick
                    yield frame


def _buffer(graph: av.filter.Graph, width: int, height: int) -> FilterContext:
    return graph.add_buffer(width=width, height=height, format=av.VideoFormat("bgr0"), time_base=_GIF_TICK)
