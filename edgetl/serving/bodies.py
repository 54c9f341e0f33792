"""Reads the pictures of a request while they arrive, within the limits."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import anyio
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from edgetl.runtime.sources import Source
from edgetl.serving.limits import Limits
from edgetl.serving.refusals import OverloadedError, RefusedError

MULTIPART = "multipart/form-data"
RAW = ("image/*", "application/octet-stream")

Take = Callable[[int], None]


class Memory:
    """Counts the bytes of all bodies that are held at once.

    Args:
        limit_bytes: how many there may be.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit, self._used = limit_bytes, 0

    @contextmanager
    def reservation(self) -> Iterator[Take]:
        """Give a function that takes so many bytes; what it took is given back at the end.

        It raises OverloadedError if there is no room for them.
        """
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if self._used + count > self._limit:
                raise OverloadedError("memory", "Too many pictures are being sent at once.")
            self._used += count
            taken += count

        try:
            yield take
        finally:
            self._used -= taken


async def read_pictures(request: Request, limits: Limits, take: Take) -> list[Source]:
    """Read the pictures of a request's body; only a form may have several.

    Args:
        request: its Content-Type says whether the body is a picture or a form.
        limits: size of the body, number of pictures, and time.
        take: reserves memory (`Memory`).

    Raises RefusedError if the body is too large, too slow or not understood, OverloadedError if
    there is no memory for it, ConnectionAbortedError if the client hangs up.
    """
    reader = _reader(request, limits)
    try:
        with anyio.fail_after(limits.body_s):
            async for chunk in _chunks(request, limits.body_bytes):
                take(len(chunk))
                reader.write(chunk)
    except TimeoutError:
        raise RefusedError(
            408,
            f"The body did not arrive within {limits.body_s:g} s.",
            headers={"connection": "close"},
        ) from None
    except ClientDisconnect as error:
        raise ConnectionAbortedError("the client has hung up") from error
    return reader.pictures()


async def _chunks(request: Request, limit_bytes: int) -> AsyncIterator[bytes]:
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    _check_size(size, limit_bytes)  # before the client is told to send it
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        _check_size(size, limit_bytes)
        yield chunk


def _check_size(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise RefusedError(
            413,
            f"The body is larger than {limit_bytes / 1e6:g} MB.",
            hint="send fewer or smaller pictures.",
        )


class _Reader(Protocol):
    def write(self, chunk: bytes) -> None: ...

    def pictures(self) -> list[Source]: ...


def is_form(request: Request) -> bool:
    """Whether the body is a form, which may have several pictures."""
    return _content_type(request)[0] == MULTIPART


def _content_type(request: Request) -> tuple[str, dict[bytes, bytes]]:
    kind, options = parse_options_header(request.headers.get("content-type", RAW[1]))
    return kind.decode("latin-1").lower(), options


def _reader(request: Request, limits: Limits) -> _Reader:
    media_type, options = _content_type(request)
    if media_type == MULTIPART:
        return _Form(options.get(b"boundary", b""), limits.files)
    if media_type.startswith("image/") or media_type in RAW:
        return _Picture()
    raise RefusedError(
        415,
        f"Content-Type '{media_type}' is neither a picture nor a form.",
        hint=f"send {RAW[0]}, {RAW[1]} or {MULTIPART}, "
        "e.g. curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg'",
    )


class _Picture:
    """A body that is one picture."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def pictures(self) -> list[Source]:
        content = b"".join(self._chunks)
        if not content:
            raise RefusedError(400, "The body is empty.", hint="send a picture's bytes.")
        return [Source("-", content)]


class _Form:
    """A form of pictures (RFC 7578), parsed as it arrives."""

    def __init__(self, boundary: bytes, max_files: int) -> None:
        self._max_files = max_files
        self._pictures: list[tuple[str, list[bytes]]] = []
        self._header = self._value = self._disposition = b""
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _bad_form(str(error)) from error
        if not boundary:
            raise _bad_form("its Content-Type has no boundary")

    def write(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _bad_form(str(error)) from error

    def pictures(self) -> list[Source]:
        if not self._ended:
            raise _bad_form("it is cut short")
        if not self._pictures:
            raise RefusedError(
                400, "The form has no pictures.", hint="e.g. curl -F file=@photo.jpg"
            )
        return [Source(name or "-", b"".join(content)) for name, content in self._pictures]

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        if b"filename" not in options:
            field = options.get(b"name", b"").decode(errors="replace")
            raise RefusedError(
                400,
                f"The form's field '{field}' is not a file.",
                hint="options go into the address, e.g. ?top=3",
            )
        if len(self._pictures) == self._max_files:
            raise RefusedError(413, f"The form has more than {self._max_files} pictures.")
        self._pictures.append((options[b"filename"].decode(errors="replace"), []))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._pictures[-1][1].append(data[start:end])

    def _on_end(self) -> None:
        self._ended = True


def _bad_form(reason: str) -> RefusedError:
    return RefusedError(400, f"The form cannot be read: {reason.rstrip('.')}.")
