"""From the text of a SOURCE to the pictures it stands for."""

import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from edgetl.capture.feeds import Feed, LiveSource, Pace, Pictures, Say
from edgetl.core.errors import DataError
from edgetl.runtime.sources import Source, find_sources

# A source that `edgetl run` takes from here is not in the list of processes, nor is its password.
SOURCE_VARIABLE = "EDGETL_SOURCE"

Opener = Callable[[str, Pace], Sequence[Source | Feed | LiveSource]]

# How a SOURCE that is no file begins, and what opens it; imported when it is used.
_OPENERS = {
    "-": "standard_input:open_standard_input",
    "camera:": "opencv:open_camera",
    "picamera2": "picamera:open_picamera",
    "picamera2:": "picamera:open_picamera",
    "http://": "web:open_url",
    "https://": "web:open_url",
    "rtsp://": "opencv:open_rtsp",
    "rtsps://": "opencv:open_rtsp",
}
_BEGINNING = re.compile(r"-$|picamera2$|[a-z][a-z0-9+.-]*:(//)?")
VIDEO_SUFFIXES = frozenset(
    {".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".m2ts", ".wmv",
     ".flv", ".3gp", ".ogv", ".mjpg", ".mjpeg", ".h264", ".264"}
)  # fmt: skip


def open_feeds(names: Sequence[str], pace: Pace, say: Say) -> list[Feed]:
    """The feeds that names stand for: in their order, then all live sources as one.

    Args:
        names: files, folders, globs, "-", cameras or URLs.
        pace: how often to take a frame of videos, streams and cameras.
        say: called when a live source is lost and when it is back.

    Raises DataError for a name that matches nothing, CaptureError if a URL cannot be fetched or a
    library is not installed.
    """
    feeds: list[Feed] = []
    pictures: list[Source] = []
    live: list[LiveSource] = []
    for item in (item for name in names for item in _opener(name)(name, pace)):
        if isinstance(item, LiveSource):
            live.append(item)
        elif isinstance(item, Feed):
            feeds += [Pictures(pictures), item]
            pictures = []
        else:
            pictures.append(item)
    feeds.append(Pictures(pictures))
    if live:
        from edgetl.capture.latest import LatestFrames

        feeds.append(LatestFrames(live, pace, say))
    return [feed for feed in feeds if feed.count != 0]


def _opener(name: str) -> Opener:
    begun = _BEGINNING.match(name)
    beginning = begun.group() if begun else ""
    if beginning in _OPENERS:
        return _imported(_OPENERS[beginning])
    if beginning.endswith("://"):
        known = ", ".join(known for known in _OPENERS if known.endswith("://"))
        # Without the address, which may have a password.
        raise DataError(f"{beginning} is not supported as a SOURCE.", hint=f"what is: {known}")
    if Path(name).is_char_device():
        return _imported(_OPENERS["camera:"])
    return _open_files


def _imported(place: str) -> Opener:
    module, _, function = place.partition(":")
    opener: Opener = getattr(importlib.import_module(f"edgetl.capture.{module}"), function)
    return opener


def _open_files(name: str, pace: Pace) -> list[Source | Feed | LiveSource]:
    items: list[Source | Feed | LiveSource] = []
    for source in find_sources([name]):
        if Path(source.name).suffix.lower() in VIDEO_SUFFIXES:
            items += _imported("opencv:open_video")(source.name, pace)
        else:
            items.append(source)
    return items
