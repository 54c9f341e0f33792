"""A model card of a bundle: Markdown with a YAML header, in the form of Hugging Face's hub.

Mitchell et al. 2019, "Model Cards for Model Reporting"; the header's keys are those of
https://huggingface.co/docs/hub/model-cards.
"""

from pathlib import Path
from typing import Any

import yaml

from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Manifest
from edgetl.core.errors import EdgetlError
from edgetl.core.files import require_writable, write_text
from edgetl.workstation.report.page import templates

_LIBRARY = "edgetl"


def write_card(bundle: Path, out: Path) -> Path:
    """Write the model card of a bundle from its manifest, and return the file.

    Raises EdgetlError if the bundle cannot be read or the file cannot be written.
    """
    if bundle.is_dir():
        raise EdgetlError(
            f"'{bundle}' is a run; a model card describes a bundle.",
            hint=f"edgetl export {bundle} -o model.edgetl, then report --card model.edgetl.",
        )
    require_writable(out)
    write_text(out, card_text(Bundle(bundle).manifest, bundle))
    return out


def card_text(manifest: Manifest, bundle: Path) -> str:
    """The model card of the bundle with this manifest at this path."""
    # Not escaped: it is Markdown, and what comes from outside passes through `plain`.
    environment = templates(autoescape=False)
    environment.filters["plain"] = plain
    environment.filters["percent"] = lambda x: "-" if x is None else f"{100 * x:.2f}"
    environment.filters["points"] = lambda x: "-" if x is None else f"{x:.2f}"
    return environment.get_template("card.md.j2").render(
        header=yaml.safe_dump(_header(manifest), sort_keys=False, allow_unicode=True).strip(),
        name=bundle.stem,
        file=bundle.name,
        manifest=manifest,
        measured=next((a.measured for a in manifest.artifacts if a.measured), None),
    )


def plain(text: str) -> str:
    """Text from outside as Markdown that shows it as it is: special characters are escaped."""
    special = "\\`*_{}[]<>|~$&"
    return "".join(f"\\{c}" if c in special else c for c in " ".join(text.split()))


def _header(manifest: Manifest) -> dict[str, Any]:
    made = manifest.provenance
    formats = list(dict.fromkeys(artifact.format for artifact in manifest.artifacts))
    header: dict[str, Any] = {
        "library_name": _LIBRARY,
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", made.backbone, *formats],
    }
    scored = [(a.name, a.measured) for a in manifest.artifacts if a.measured]
    metrics = [
        {"type": "accuracy", "name": f"top-1, {name}", "value": round(measured.top1, 4)}
        for name, measured in scored
        if measured.top1 is not None
    ]
    if metrics:
        dataset = {"name": made.data, "type": "imagefolder", "split": scored[0][1].part}
        task = {"type": "image-classification"}
        result = {"task": task, "dataset": dataset, "metrics": metrics}
        header["model-index"] = [{"name": made.backbone, "results": [result]}]
    return header
