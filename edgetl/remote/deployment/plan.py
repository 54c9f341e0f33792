"""What a release consists of: decided here, before any machine is asked."""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from edgetl.bundle.archive import Bundle
from edgetl.core.errors import BundleError, DataError
from edgetl.core.schema import to_json
from edgetl.remote.content import Content, measured
from edgetl.remote.deployment.settings import Settings
from edgetl.remote.deployment.unit import PICTURE, SECRETS, secret_variables, service_unit
from edgetl.remote.wheel import own_wheel
from edgetl.runtime.engines.registry import engine_spec
from edgetl.runtime.preprocess import decode

_LARGEST_PICTURE = 8_000_000  # less than a server accepts of a request


class Plan(NamedTuple):
    """A release.

    Attributes:
        bundle: the bundle, and `bundle_sha256`, its file's hash.
        settings: what the service does.
        token: what its clients must send; None: nothing.
        picture: the encoded picture whose answer is compared.
        own_picture: whether the user named it; else it is a golden sample.
        release: the release's name.
    """

    bundle: Bundle
    bundle_sha256: str
    settings: Settings
    token: str | None
    picture: bytes
    own_picture: bool
    release: str

    @property
    def unit(self) -> str:
        """The text of the service's unit."""
        return service_unit(self.settings, self.release, secrets=bool(self._secrets))

    @property
    def _secrets(self) -> str:
        return secret_variables(self.settings, self.token)

    def files(self) -> dict[str, tuple[Content, int]]:
        """The release's files: for each name its content and mode."""
        files: dict[str, tuple[Content, int]] = {
            "model.edgetl": (self.bundle.path, 0o644),
            PICTURE: (self.picture, 0o644),
            f"edgetl-{self.settings.name}.service": (self.unit.encode(), 0o644),
        }
        if self._secrets:
            files[SECRETS] = (self._secrets.encode(), 0o600)
        return files


def plan_release(
    bundle: Bundle, settings: Settings, *, token: str | None, picture: Path | None
) -> Plan:
    """Decide on a release.

    Args:
        bundle: the bundle.
        settings: what the service does, checked.
        token: what its clients must send; None: nothing.
        picture: a picture whose answers are compared; None: a golden sample.

    Raises BundleError if the bundle is damaged or has no such artifact, EngineError if there is no
    such engine, DataError if the picture cannot be used.
    """
    bundle.require_whole()
    if settings.artifact:
        bundle.artifact(settings.artifact)
    if settings.engine != "auto":
        engine_spec(settings.engine.partition(":")[0])
    _, sha256 = measured(bundle.path)
    content = _golden_picture(bundle) if picture is None else _own_picture(picture, bundle)
    parts = (to_json(settings), token or "", own_wheel().key, hashlib.sha256(content).hexdigest())
    rest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    release = f"{sha256[:12]}-{rest[:8]}"
    return Plan(bundle, sha256, settings, token, content, picture is not None, release)


def _golden_picture(bundle: Bundle) -> bytes:
    inputs = bundle.golden().get("inputs")
    if inputs is None or inputs.ndim != 4 or not len(inputs):
        raise BundleError(
            f"'{bundle.path}' has no golden samples.",
            hint="make the bundle again with `edgetl export`.",
        )
    buffer = io.BytesIO()
    Image.fromarray(inputs[0].astype("uint8")).save(buffer, "PNG")
    return buffer.getvalue()


def _own_picture(picture: Path, bundle: Bundle) -> bytes:
    decode(picture, bundle.manifest.preprocess.resize_px)
    content = picture.read_bytes()
    if len(content) > _LARGEST_PICTURE:
        raise DataError(f"'{picture}' is larger than {_LARGEST_PICTURE / 1e6:.0f} MB.")
    return content
