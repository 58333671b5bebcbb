"""Video files to frames, through PyAV (FFmpeg).

A file may be turned by its display matrix, have a frame rate that varies, pixels that are not square, any matrix or
range of colours, or be cut short. On this side there are upright frames (1, 3, H, W) in [0, 1] with the file's own
timestamps.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import av
import torch
from av.container import InputContainer
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from torch import Tensor

from texturenet import codec
from texturenet.files import ImageError

# Containers that are files of their own: a playlist that calls itself clip.mp4 would open others, on the net too.
_READABLE = "mov,matroska,webm,gif,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,nut,mxf,h264,hevc"
_MATRICES = (1, 5, 7, 9)  # AVColorSpace and swscale's number of BT.709, BT.601, SMPTE 240M, BT.2020
SCALING = Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class Clip:
    """A video file, read once from end to end without decoding."""

    path: Path
    height: int  # of its upright frames, with square pixels, as they are asked for
    width: int
    turn: tuple[bool, bool, bool]  # how the stored frame becomes upright: transposed, then mirrored in x, in y
    frames: int
    start: int  # timestamp of the first frame
    last: int  # how long the last one is shown
    time_base: Fraction  # seconds a unit of timestamps
    rate: Fraction  # frames a second, the mean
    colors: tuple[int, int, int]  # FFmpeg's numbers of matrix (never unspecified), primaries, transfer curve
    transparent: bool  # whether its frames have alpha, which nothing here reads


def survey(path: Path, size: int | None = None) -> Clip:
    """Read the whole file's packets, so that a bad one is told before hours of work.

    size  longer side of the frames, px (the other then is even); None: as stored
    Raises ValueError or OSError of one line: not a video, without a picture, cut short.
    """
    with opened(path) as container:
        stream = _picture(path, container)
        headed = container.format.name.startswith(("mov", "matroska"))  # others have no length but what is there
        declared = float(Fraction((container.start_time or 0) + (container.duration or 0), av.time_base))
        shape = stream.sample_aspect_ratio or Fraction(1)
        time_base = stream.time_base or Fraction(1, 90_000)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        step = max(1, round(1 / (rate * time_base)))
        times: list[int] = []
        last, end = step, 0.0
        for packet in container.demux():
            if not packet.size:  # the end of a stream
                continue
            time = packet.dts if packet.pts is None else packet.pts
            if packet.stream_index == stream.index:
                time = times[-1] + step if time is None and times else time or 0
                if packet.is_corrupt:
                    raise ValueError(_cut(path, float(time * time_base)))
                times.append(time)
                last = packet.duration or step
            end = max(end, float(((time or 0) + (packet.duration or 0)) * packet.time_base))
    if not times:
        raise ValueError(f"{path}: has no frames: copy or download it again")
    times.sort()
    longest = max((after - before for before, after in pairwise(times)), default=step) * time_base
    if headed and declared - end > max(float(2 * longest), min(1.0, declared / 50)):
        raise ValueError(_cut(path, end, declared))
    with contextlib.closing(_decoded(path)) as decoded:
        frame = next(decoded, None)
    if frame is None:
        raise ValueError(f"{path}: none of its frames can be decoded: copy or download it again")
    turn = _turn(frame)
    height, width = _fit(frame.height, round(frame.width * shape), turn[0], size)
    matrix = {6: 5}.get(frame.colorspace, frame.colorspace)  # two names of BT.601's
    if matrix not in _MATRICES:
        matrix = 1 if frame.height >= 720 else 5  # as players guess
    return Clip(
        path=path,
        height=height,
        width=width,
        turn=turn,
        frames=len(times),
        start=times[0],
        last=last,
        time_base=time_base,
        rate=rate,
        colors=(matrix, frame.color_primaries, frame.color_trc),
        transparent=any(component.is_alpha for component in frame.format.components),
    )


def read(clip: Clip, denoise: bool) -> Generator[tuple[int, Tensor], None, None]:
    """Its frames one by one: (timestamp, (1, 3, H, W) in [0, 1]), timestamps rising.

    denoise  average each pixel over up to nine frames for as long as it changes by less than 2%, and 4% in sum
             (FFmpeg's atadenoise): sensor noise, which a network that answers to contrast would paint
    """
    step = max(1, round(1 / (clip.rate * clip.time_base)))
    before = clip.start - step
    with _explained(clip.path), contextlib.closing(_decoded(clip.path)) as decoded:
        for frame in _denoised(decoded, clip.time_base) if denoise else decoded:
            pts = before + step if frame.pts is None else frame.pts
            if pts > before:
                before = pts
                yield pts, _to_tensor(frame, clip)


def _cut(path: Path, end: float, declared: float | None = None) -> str:
    whole = "" if declared is None else f" of {declared:.1f}"
    return f"{path}: is cut short after {end:.1f}{whole} s: copy or download it again, or mend it with ffmpeg -c copy"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The file for reading; whatever FFmpeg finds wrong inside is a ValueError of one line."""
    try:
        with path.open("rb"):  # Python's errors for a missing or forbidden file are the clearer ones
            pass
    except OSError as error:
        raise OSError(f"{path}: could not be read: {error.strerror}") from error
    options = {"format_whitelist": _READABLE, "protocol_whitelist": "file"}
    with _explained(path), av.open(f"file:{path}", options=options) as container:
        yield container


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        if told := _told_as_a_picture(path):
            raise ValueError(f"{path}: {told}") from error
        raise ValueError(f"{path}: can't be read as a video ({error.strerror}): copy or download it again") from error


def _told_as_a_picture(path: Path) -> str:
    """What a picture that FFmpeg doesn't read as a video is told by; "" for what is none."""
    try:
        with codec.opened(path) as picture:
            if picture.format == "GIF":  # FFmpeg reads those, so this one is damaged
                return ""
            if getattr(picture, "n_frames", 1) > 1:
                return f"is an animated {picture.format}, no video: end the result's name in .gif, .png or .webp"
    except (ImageError, OSError):
        return ""
    return "is a picture, no video: end its name and the result's in .jpg or .png"


def _picture(path: Path, container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    if not container.streams:
        raise ValueError(f"{path}: can't be read as a video (nothing in it): copy or download it again")
    if not isinstance(stream, VideoStream):
        raise ValueError(f"{path}: has no picture, only {' and '.join(sorted({s.type for s in container.streams}))}")
    stream.thread_type = "AUTO"
    return stream


def _decoded(path: Path) -> Generator[VideoFrame, None, None]:
    with opened(path) as container:
        yield from container.decode(_picture(path, container))


def _denoised(frames: Iterator[VideoFrame], time_base: Fraction) -> Iterator[VideoFrame]:
    first = next(frames)
    width, height, pixels = first.width, first.height, first.format
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=pixels, time_base=time_base)
    graph.link_nodes(source, graph.add("atadenoise"), graph.add("buffersink")).configure()
    alike = (frame.reformat(width, height, pixels.name) for frame in frames)  # a stream may change its size
    yield from filtered(graph, source, chain([first], alike))


def filtered(graph: av.filter.Graph, source: FilterContext, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """What comes out of a graph when frames go into its buffer; taken at once, so that nothing piles up inside."""
    for frame in chain(frames, [None]):
        source.push(frame)
        with contextlib.suppress(av.BlockingIOError, av.EOFError):
            while True:
                yield graph.vpull()


def _turn(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transposed, mirrored in x, in y) of FFmpeg's display matrix: x' = a x + c y, y' = b x + d y."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d = struct.unpack("=9i", bytes(data))[:5]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _fit(height: int, width: int, transposed: bool, size: int | None) -> tuple[int, int]:
    if transposed:
        height, width = width, height
    if size is None:
        return height, width
    scale = size / max(height, width) / 2
    return max(1, round(height * scale)) * 2, max(1, round(width * scale)) * 2


def _to_tensor(frame: VideoFrame, clip: Clip) -> Tensor:
    transposed, mirror_x, mirror_y = clip.turn
    stored = (clip.width, clip.height) if not transposed else (clip.height, clip.width)
    matrix = None if frame.format.is_rgb else clip.colors[0]
    rgb = frame.reformat(*stored, format="rgb24", src_colorspace=matrix, interpolation=SCALING)
    pixels = torch.from_numpy(rgb.to_ndarray()).permute(2, 0, 1)[None]  # (1, 3, H, W)
    if transposed:
        pixels = pixels.transpose(2, 3)
    flipped = [axis for axis, mirrored in ((3, mirror_x), (2, mirror_y)) if mirrored]
    return pixels.flip(flipped).contiguous().float() / 255
