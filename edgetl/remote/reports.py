"""What commands report of several hosts; `--json` writes it with these field names."""

from edgetl.benchmarking.reports import BenchReport
from edgetl.bundle.reports import ParityReport
from edgetl.core.schema import Frozen


class BenchOnHost(Frozen, kw_only=True, frozen=True):
    """A host's benchmark.

    Attributes:
        report: None if the host failed.
        error, hint: why, and what to do; empty if there is a report.
    """

    host: str
    report: BenchReport | None
    error: str = ""
    hint: str = ""


class BenchOnHosts(Frozen, kw_only=True, frozen=True):
    """The report of `edgetl bench --inventory`, host by host in the inventory's order.

    Attributes:
        seed: of the random order in which the hosts began.
    """

    seed: int
    hosts: tuple[BenchOnHost, ...]


class VerifyOnHost(Frozen, kw_only=True, frozen=True):
    """A host's golden samples; fields as in `BenchOnHost`."""

    host: str
    reports: tuple[ParityReport, ...] | None
    error: str = ""
    hint: str = ""


class EnvironmentOnHost(Frozen, kw_only=True, frozen=True):
    """The report of `edgetl devices setup`.

    Attributes:
        kernel: the kernel's name of the processor, e.g. "aarch64".
        bits: of the host's Python, 32 or 64, and `python`, its version.
        libc: e.g. "glibc 2.36".
        path: the folder of the environment there.
        engines: what is installed in it.
        made: whether it was made now.
        added: the engines that were installed now.
    """

    host: str
    kernel: str
    bits: int
    libc: str
    python: str
    path: str
    engines: tuple[str, ...]
    made: bool
    added: tuple[str, ...]
