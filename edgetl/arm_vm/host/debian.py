"""Download and unpack Debian packages without root, with the host's own sources and keys."""

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from edgetl.arm_vm.host.pins import Packages, Pinned
from edgetl.core.errors import EdgetlError
from edgetl.core.files import make_folder, write_text
from edgetl.fetch.registry import FetchError, matches

SOURCES = Path("/etc/apt")
# Debian's top folders that are links into /usr since bookworm; packages still use the old paths.
_MERGED = ("bin", "sbin", "lib", "lib64")
_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
_URI_LINE = re.compile(r"^'[^']+' (?P<file>\S+\.deb) \d+ SHA256:(?P<sha256>[0-9a-f]{64})$")
_TIMEOUT_S = 1800


class Apt:
    """Runs apt for one architecture, with package lists and archives of its own.

    Args:
        architecture: Debian's name, e.g. "arm64".
        release: e.g. "bookworm"; only the host's sources that name it are used.
        state: a folder for the lists.
        archives: the folder for downloads; finished downloads are used again.

    Raises EdgetlError if the host has no apt or no sources of that release.
    """

    def __init__(self, architecture: str, release: str, state: Path, archives: Path) -> None:
        self._apt = tool("apt-get", package="apt")
        self._archives = archives
        self._config = state / "apt.conf"
        self._nowhere = state / "none"
        for folder in (state / "lists", archives, self._nowhere):
            make_folder(folder / "partial")
        make_folder(state / "sources.list.d")
        _copy_sources(release, state / "sources.list.d")
        write_text(self._config, _configuration(architecture, state, archives))

    def update(self) -> None:
        """Download the package lists. Raises FetchError without a network."""
        self._run("update")

    def resolve(self, wanted: Sequence[str]) -> list[Pinned]:
        """Look up packages and their dependencies in apt's signed lists.

        Raises FetchError if apt fails.
        """
        # apt prints only what is not downloaded yet, so it is given an empty archive folder.
        nowhere = f"Dir::Cache::archives={self._nowhere}"
        printed = self._run("install", "--yes", "--print-uris", "-o", nowhere, *wanted)
        lines = [match for line in printed.splitlines() if (match := _URI_LINE.match(line))]
        return [Pinned(file=match["file"], sha256=match["sha256"]) for match in lines]

    def download(self, wanted: Sequence[str], files: Sequence[Pinned]) -> None:
        """Download the files that `resolve` returned.

        Raises FetchError if apt fails or a file's sha256 differs.
        """
        for pinned in files:
            if not matches(self._archives / pinned.file, pinned.sha256):
                (self._archives / pinned.file).unlink(missing_ok=True)  # apt checks only its size
        self._run("install", "--yes", "--download-only", *wanted)
        self._check(files)

    def download_alone(self, package: str, pinned: Pinned) -> None:
        """Download one package without its dependencies.

        Raises FetchError if apt fails or the file's sha256 differs.
        """
        self._run("download", package, folder=self._archives)
        self._check([pinned])

    def _check(self, files: Sequence[Pinned]) -> None:
        for pinned in files:
            if not matches(self._archives / pinned.file, pinned.sha256):
                raise FetchError(
                    f"'{pinned.file}' from Debian has another sha256 than its package list says.",
                    hint="try again; if a proxy or mirror is in use, try without it.",
                )

    def _run(self, *arguments: str, folder: Path | None = None) -> str:
        command = [self._apt, "-c", str(self._config), "-qq", *arguments]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=folder, timeout=_TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise FetchError(
                f"apt-get {arguments[0]} took more than {_TIMEOUT_S} s.",
                hint="check the network and try again; finished downloads are kept.",
            ) from error
        if result.returncode or "Failed to fetch" in result.stderr:
            errors = [line for line in result.stderr.splitlines() if line.startswith(("E:", "W:"))]
            raise FetchError(
                "Debian's packages cannot be downloaded: "
                f"{(errors or ['apt-get printed no error'])[0]}",
                hint="check the network and try again; finished downloads are kept.",
            )
        return result.stdout


def tool(name: str, *, package: str) -> str:
    """The path of a program of the host.

    Raises EdgetlError if it is missing; the hint names the Debian package that contains it.
    """
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise EdgetlError(
            f"'{name}' is missing; it is needed to build the emulated machine.",
            hint=f"apt-get install {package}  (on Debian 12; see docs/arm64.md)",
        )
    return path


def pinned_and_here(packages: Packages, archives: Path) -> bool:
    """Whether every pinned package is downloaded with the right sha256: no network is needed."""
    return bool(packages.files) and all(
        matches(archives / pinned.file, pinned.sha256) for pinned in packages.files
    )


def unpack(archive: Path, root: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Unpack a package's files, without running its scripts.

    Args:
        archive: the .deb file.
        root: the folder that becomes the root of the file system.
        wanted: called with each name, e.g. "usr/bin/python3.11"; True: unpack it.

    Raises EdgetlError if it is damaged.
    """
    command = [tool("dpkg-deb", package="dpkg"), "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as packed:
        try:
            with tarfile.open(fileobj=packed.stdout, mode="r|") as members:
                members.extraction_filter = getattr(tarfile, "tar_filter", None)
                for member in members:
                    name = merged(member.name)
                    if not name.startswith(_LEFT_OUT) and name != "." and wanted(name):
                        _extract(members, member, root)
        except (tarfile.TarError, EOFError) as error:
            raise EdgetlError(
                f"'{archive.name}' cannot be unpacked: {error}.",
                hint=f"delete '{archive}' and try again.",
            ) from error


def merged(name: str) -> str:
    """A member's path if /bin, /sbin and /lib are links into /usr: "./lib/x" -> "usr/lib/x"."""
    path = PurePosixPath(name)
    return str("usr" / path if path.parts[:1] and path.parts[0] in _MERGED else path)


def _extract(members: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        return
    if member.isdir() and merged(member.name) in {f"usr/{name}" for name in _MERGED}:
        (root / merged(member.name)).mkdir(parents=True, exist_ok=True)
        return
    member.name = merged(member.name)
    if member.islnk():
        member.linkname = merged(member.linkname)
    member.uid = member.gid = 0
    members.extract(member, root)


def _copy_sources(release: str, folder: Path) -> None:
    files = [SOURCES / "sources.list", *(SOURCES / "sources.list.d").glob("*.*")]
    sources = [
        path
        for path in files
        if path.suffix in (".list", ".sources")
        and path.is_file()
        and _names_debian(path.read_text(errors="replace"), release)
    ]
    if not sources:
        raise EdgetlError(
            f"This host's apt has no sources of Debian '{release}', which the emulated machine is "
            "built from.",
            hint="build it on Debian 12, e.g. in a container; see docs/arm64.md.",
        )
    for path in sources:
        shutil.copyfile(path, folder / path.name)


def _names_debian(text: str, release: str) -> bool:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    words = {word for line in lines for word in line.split()}
    return release in words and "main" in words


def _configuration(architecture: str, state: Path, archives: Path) -> str:
    """apt's configuration, read after the host's own, whose proxies and certificates stay valid."""
    return f"""\
#clear APT::Architectures;
#clear APT::Update;
#clear DPkg;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::ForceHash "SHA256";
Acquire::Languages "none";
Acquire::Retries "2";
Debug::NoLocking "true";
Dir::State "{state}";
Dir::State::lists "{state}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{state}";
Dir::Cache::archives "{archives}";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{state}/sources.list.d";
"""
