"""What serving costs: answers over HTTP beside calls of the classifier, and a bounded load.

    python benchmarks/serving.py BUNDLE PICTURES [--clients 50] [--seconds 30] [--json FILE]

First, one client with a connection that stays open sends each picture, in turns with direct calls
of a classifier in this process with the same bytes; of each picture's rounds the median counts. The
difference is the server's own cost: HTTP, a thread, JSON. Then many clients send pictures as
fast as they are answered; a client that is refused (503) waits as long as the answer says.

Clients, classifier and server are on the same machine and share its cores.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edgetl.benchmarking.host import host_facts
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.sources import pictures_in

HEADERS = {"Content-Type": "application/octet-stream"}


class Server(NamedTuple):
    """A running server: its process and where it listens."""

    process: subprocess.Popen[str]
    port: int

    def connect(self) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def resident_mb(self) -> float:
        """The memory that its process takes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024 / 1e6


class Load(NamedTuple):
    """What many clients saw.

    Attributes:
        seconds: how long they sent pictures.
        latencies_ms: of answers, from sending to receiving.
        statuses: how many answers had each status code; 0: there was no answer.
        resident_mb: the server's memory, once a second.
    """

    seconds: float
    latencies_ms: list[float]
    statuses: Counter[int]
    resident_mb: list[float]


@contextlib.contextmanager
def serving(bundle: Path, options: Sequence[str] = ()) -> Iterator[Server]:
    """Start `edgetl serve` on a free port; stop it at the end."""
    command = [sys.executable, "-m", "edgetl", "serve", str(bundle), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            said = ""
            while not (found := re.search(r" on http://\S+:(\d+)$", said)):  # after warnings
                line = process.stderr.readline()
                if not line:
                    raise RuntimeError(said)
                said += line
            yield Server(process, int(found[1]))
        finally:
            process.terminate()


def post(connection: http.client.HTTPConnection, picture: bytes) -> tuple[int, float, bytes]:
    """Send a picture; returns the status, the seconds to wait if there is no room, and the body."""
    connection.request("POST", "/v1/predict", picture, HEADERS)
    response = connection.getresponse()
    wait_s = float(response.headers.get("Retry-After", 0))
    return response.status, wait_s, response.read()


def compare(
    classifier: Classifier, server: Server, pictures: Sequence[bytes], rounds: int
) -> dict[str, float]:
    """Median milliseconds of a picture by direct calls, over HTTP, and their difference."""
    connection = server.connect()
    direct_ms: list[list[float]] = [[] for _ in pictures]
    http_ms: list[list[float]] = [[] for _ in pictures]
    for _ in range(rounds + 1):
        for picture, times in zip(pictures, direct_ms, strict=True):
            begun = time.perf_counter()
            classifier(picture)
            times.append((time.perf_counter() - begun) * 1e3)
        for picture, times in zip(pictures, http_ms, strict=True):
            begun = time.perf_counter()
            status, _, body = post(connection, picture)
            times.append((time.perf_counter() - begun) * 1e3)
            if status != 200:
                raise RuntimeError(body.decode())
    direct = [statistics.median(times[1:]) for times in direct_ms]  # the first round warms up
    over_http = [statistics.median(times[1:]) for times in http_ms]
    return {
        "direct_ms": statistics.median(direct),
        "http_ms": statistics.median(over_http),
        "own_cost_ms": statistics.median(b - a for a, b in zip(direct, over_http, strict=True)),
    }


def load(server: Server, pictures: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Have many clients send pictures for some seconds."""
    latencies_ms: list[float] = []
    statuses: Counter[int] = Counter()
    resident_mb = [server.resident_mb()]
    begun = time.perf_counter()
    end = begun + seconds

    def client(number: int) -> None:
        connection = server.connect()
        for index in itertools.count(number):
            sent = time.perf_counter()
            if sent >= end:
                break
            try:
                status, wait_s, _ = post(connection, pictures[index % len(pictures)])
            except (OSError, http.client.HTTPException):
                connection.close()  # the next request opens it again
                status, wait_s = 0, 1.0
            statuses[status] += 1
            if status == 200:
                latencies_ms.append((time.perf_counter() - sent) * 1e3)
            else:
                time.sleep(min(wait_s, max(0.0, end - time.perf_counter())))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(min(1.0, seconds / 5))
        resident_mb.append(server.resident_mb())
    return Load(time.perf_counter() - begun, latencies_ms, statuses, resident_mb)


def summary(found: Load) -> dict[str, float]:
    """The figures of a load."""
    centiles = statistics.quantiles(found.latencies_ms, n=100)
    settled = found.resident_mb[len(found.resident_mb) // 4 :]
    return {
        "answers_per_s": found.statuses[200] / found.seconds,
        "p50_ms": centiles[49],
        "p99_ms": centiles[98],
        "answers": found.statuses[200],
        "refused": found.statuses[503],
        "failed": sum(found.statuses.values()) - found.statuses[200] - found.statuses[503],
        "resident_begin_mb": found.resident_mb[0],
        "resident_settled_mb": settled[0],
        "resident_end_mb": found.resident_mb[-1],
        "resident_most_mb": max(found.resident_mb),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--count", type=int, default=50, help="how many pictures")
    parser.add_argument("--threads", type=int, help="the engine's, of both")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    pictures = [path.read_bytes() for path in pictures_in(given.pictures)[: given.count]]
    options = [f"--threads={given.threads}"] if given.threads else []
    with serving(given.bundle, options) as server:
        classifier = Classifier(given.bundle, threads=given.threads)
        one = compare(classifier, server, pictures, given.rounds)
        runs = f"{classifier.artifact.name} through {classifier.engine_version}"
        runs += f", {classifier.threads} threads"
        loaded = load(server, pictures, given.clients, given.seconds)
    many = summary(loaded)
    host = host_facts()
    print(f"{host.cpu}, {host.cores} cores, Python {platform.python_version()}; {runs}")
    print(f"one client, {len(pictures)} pictures, median of {given.rounds} rounds")
    print_figures(one)
    print(f"{given.clients} clients for {given.seconds:g} s")
    print_figures(many)
    if given.json:
        measured = {"one": one, "many": many, "resident_mb": loaded.resident_mb}
        given.json.write_text(json.dumps({"host": host.cpu, **measured}, indent=2) + "\n")


def print_figures(figures: dict[str, float]) -> None:
    """Print a line for each figure."""
    for name, value in figures.items():
        print(f"  {name}: {value}" if isinstance(value, int) else f"  {name}: {value:.2f}")


if __name__ == "__main__":
    main()
