"""Cameras that send pictures, as in the tests of capturing."""

from tests.capture.conftest import camera, jpegs

__all__ = ["camera", "jpegs"]
