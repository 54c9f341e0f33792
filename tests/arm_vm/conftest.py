"""The emulated machine, built once for all sessions, and bundles for it."""

from pathlib import Path

import pytest

from edgetl.arm_vm.host.build import build_machine
from edgetl.core.errors import EdgetlError
from edgetl.core.files import cache_folder

# Read while tests are collected, before the session gets a cache of its own.
KEPT = cache_folder().resolve() / "emulated"


@pytest.fixture(scope="session")
def machine(session_cache: None) -> Path:
    """The emulated machine, in the cache that is kept from session to session."""
    own = cache_folder() / "emulated"
    if not own.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        own.symlink_to(KEPT, target_is_directory=True)
    try:
        return build_machine()
    except EdgetlError as error:
        pytest.skip(f"skipped: no QEMU or no network: {error} {error.hint}")
