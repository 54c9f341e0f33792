"""An untrained network in int8: weights do not decide what it takes or if it can be exported."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.console import suppress_native_output
from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.progress import Progress, Silent
from edgetl.runtime.engines.registry import installed
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.backbones.build import build_network
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.export.artifacts import (
    ExportedArtifact,
    engine_logits,
    load_measuring_engine,
)
from edgetl.workstation.export.cache import ExportCache
from edgetl.workstation.export.formats.registry import FORMATS, versions
from edgetl.workstation.export.graph.deploy import DeployGraph
from edgetl.workstation.export.int8.constraints import QuantizationConstraints, constraints_of
from edgetl.workstation.export.int8.plan import plan_by_ranges
from edgetl.workstation.export.int8.ranges import SYMMETRIC_ZERO
from edgetl.workstation.libraries import is_here
from edgetl.workstation.recipe import Recipe

_ANOTHER = "choose another network: edgetl choose --help."


class Answered(NamedTuple):
    """An artifact, and its engine's logits for the noise, float32 [2, C]."""

    artifact: ExportedArtifact
    logits: NDArray[np.float32]


class UntrainedInt8:
    """A network with random weights, and int8 ranges from noise.

    Args:
        recipe: names the backbone, the picture size, the head and the seed.
        classes: the number of classes.
        constraints: what the device's int8 kernels require.

    Attributes:
        preprocess: how pictures would be prepared for it.
        pictures: the noise, uint8 [size, size, 3] each.

    Raises WeightsError if there is no such backbone, EdgetlError if its ranges cannot be found.
    """

    def __init__(self, recipe: Recipe, classes: int, constraints: QuantizationConstraints) -> None:
        backbone = find_backbone(recipe.backbone)
        torch.manual_seed(recipe.seed)
        network = build_network(backbone, classes, recipe.head)
        source = backbone.sources[0]
        side = recipe.image_size_px or backbone.size_px
        self.preprocess = Preprocess(size_px=side, mean=source.mean, std=source.std)
        self.pictures = _noise(side)
        zero = SYMMETRIC_ZERO if constraints.symmetric else None
        try:
            graph = DeployGraph(network.model, mean=source.mean, std=source.std, size=(side, side))
            self._plan = plan_by_ranges(graph.with_whole_pixels(zero), self.pictures, constraints)
        except Exception as error:  # whatever the code of a network from elsewhere raises
            raise EdgetlError(
                f"'{recipe.backbone}' cannot be exported in int8: {first_line(error)}",
                hint=_ANOTHER,
            ) from error

    def write(self, formats: Sequence[str], progress: Progress) -> tuple[list[Answered], list[str]]:
        """Write it in each format, and run it.

        Returns the artifacts that answer, and for each format that fails "as FORMAT: why".
        """
        answered, failures = [], []
        with progress.stage("exporting an untrained network", len(formats), "formats") as shown:
            for name in formats:
                try:
                    with suppress_native_output():
                        files = FORMATS[name].write_int8(self._plan, self.pictures[0])
                        engine = load_measuring_engine(name, files)
                        logits = engine_logits(engine, self.pictures)
                except Exception as error:  # converters raise errors of many kinds
                    failures.append(f"as {name}: {first_line(error)}")
                else:
                    answered.append(Answered(ExportedArtifact(name, "int8", files), logits))
                shown.advance(1, name)
        return answered, failures


def require_exportable(recipe: Recipe, progress: Progress) -> None:
    """Report the formats that a recipe's network cannot be exported in, before it is trained.

    It is exported in int8 with random weights, once: the outcome is kept in edgetl's cache.

    Raises WeightsError if there is no such network, EdgetlError if no format can be written.
    """
    formats = usable_formats()
    if not formats:  # this machine only trains
        return
    depends_on = ("whether it can be exported", versions(), recipe.head, formats)
    key = f"exportable-{recipe.backbone.replace(':', '-')}-{recipe.image_size_px}"

    def compute() -> list[str]:
        constraints = constraints_of(None, formats, Silent())
        return UntrainedInt8(recipe, 2, constraints).write(formats, progress)[1]

    failures = ExportCache(depends_on, progress).get_or_compute(key, list[str], compute)
    if len(failures) == len(formats):
        raise EdgetlError(
            f"'{recipe.backbone}' cannot be exported {'; '.join(failures)}",
            hint=_ANOTHER,
        )
    for failure in failures:
        progress.say(f"{recipe.backbone} cannot be exported {failure}")


def usable_formats() -> list[str]:
    """The formats that can be written in int8, and whose measuring engine is installed."""
    return [
        name
        for name, spec in FORMATS.items()
        if "int8" in spec.schemes and installed(spec.engine) and all(map(is_here, spec.libraries))
    ]


def _noise(size_px: int) -> list[Pixels]:
    """Two pictures of noise, uint8 [size, size, 3], always the same."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (size_px, size_px, 3), np.uint8) for _ in range(2)]
