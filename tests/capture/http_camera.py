"""A network camera: a web server on this machine, whose pages a test writes."""

import http.server
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType

Page = Callable[[http.server.BaseHTTPRequestHandler], None]
BOUNDARY = b"--frame-boundary"


class HttpCamera:
    """Serves pages until the block is left.

    Attributes:
        pages: what answers each path.
        requests: the paths that were requested, in order.
    """

    def __init__(self, port: int = 0) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[str] = []
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.requests.append(self.path)
                with suppress(OSError):  # the client has gone
                    camera.pages.get(self.path, not_found)(self)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def url(self, path: str, login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}{path}"

    def __enter__(self) -> "HttpCamera":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def not_found(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def picture(content: bytes, kind: str = "image/jpeg") -> Page:
    """A page that is one file."""

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer


def stream(jpegs: Iterable[bytes], pause_s: float = 0.02) -> Page:
    """A page that sends JPEGs one after another, as mjpg-streamer does, and then closes."""

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        kind = "multipart/x-mixed-replace;boundary=frame-boundary"
        request.send_header("Content-Type", kind)
        request.end_headers()
        for jpeg in jpegs:
            request.wfile.write(
                BOUNDARY + b"\r\nContent-Type: image/jpeg\r\n"
                b"Content-Length: %d\r\nX-Timestamp: 0.000000\r\n\r\n" % len(jpeg)
            )
            request.wfile.write(jpeg + b"\r\n")
            request.wfile.flush()
            time.sleep(pause_s)

    return answer
