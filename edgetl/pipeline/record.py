"""What was found of a bundle on a board goes into the bundle."""

from collections.abc import Sequence

import msgspec

from edgetl.core.bundle import Bundle, write_bundle
from edgetl.core.manifest import BoardVerdict


def record(bundle: Bundle, verdicts: Sequence[BoardVerdict]) -> None:
    """Write a bundle again with these verdicts, in place of older ones on the same boards.

    Raises EdgetlError where it cannot be written; it is then as it was.
    """
    boards = {verdict.board for verdict in verdicts}
    kept = [verdict for verdict in bundle.manifest.verdicts if verdict.board not in boards]
    manifest = msgspec.structs.replace(bundle.manifest, verdicts=(*kept, *verdicts))
    write_bundle(bundle.path, manifest, bundle.contents())
