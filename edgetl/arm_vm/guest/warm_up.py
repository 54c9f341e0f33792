"""Run in the machine when it is built: imports what jobs will import, so that it is compiled once.

Everything is in the machine's own folders here; nothing of edgetl is.
"""

import importlib
import subprocess
import sys

SITES = {
    "/opt/site": (
        "numpy", "PIL.Image", "PIL.ImageOps", "PIL.JpegImagePlugin", "PIL.PngImagePlugin",
        "PIL.WebPImagePlugin", "PIL.TiffImagePlugin", "PIL.BmpImagePlugin", "msgspec", "click",
        "yaml", "onnxruntime", "ai_edge_litert.interpreter", "openvino",
    ),
    "/opt/tflite": ("numpy", "tflite_runtime.interpreter"),
}  # fmt: skip
ALSO = ("subprocess", "zipfile", "json", "tempfile", "importlib.metadata", "runpy", "email.parser")


def import_all(site: str) -> None:
    """Import a folder's packages and say which there are."""
    sys.path.insert(0, site)
    for name in (*ALSO, *SITES[site]):
        importlib.import_module(name)
    from importlib.metadata import distributions

    found = {d.metadata["Name"].lower(): d.version for d in distributions(path=[site])}
    print(f"@ready {site}: " + ", ".join(f"{k} {v}" for k, v in sorted(found.items())), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        import_all(sys.argv[1])
    else:
        for folder in SITES:
            subprocess.run([sys.executable, __file__, folder], check=True)
