"""The temperatures of an export's networks, and what its held-out pictures are judged at."""

from edgetl.core.calibration import Calibration, cross_fit, fixed
from edgetl.core.reports import TemperatureSource
from edgetl.pipeline.asked import TORCH
from edgetl.pipeline.opened import Job
from edgetl.pipeline.products import Product
from edgetl.verify.accuracy import Answers

_CROSSED: tuple[TemperatureSource, ...] = ("validation, cross-fitted", "test, cross-fitted")


def torch_calibration(job: Job, answers: Answers) -> Calibration:
    """The run's temperature, cross-fitted where these pictures are what it was fitted to."""
    fitted_to, part = job.facts.temperature_from, job.chosen.held_out.part
    source: TemperatureSource
    if part == "val":
        source = "validation, cross-fitted"
    elif part == "test" and fitted_to == "test, cross-fitted":
        source = fitted_to
    else:
        return fixed(job.facts.temperature, len(answers.truth), fitted_to)
    crossed = cross_fit(answers.truth, answers.logits[TORCH], source)
    return crossed._replace(temperature=job.facts.temperature)


def artifact_calibration(product: Product, answers: Answers, torch: Calibration) -> Calibration:
    """An artifact's temperature: int8 has its own where any was fitted, others have the run's."""
    if product.temperature is not None:
        return fixed(product.temperature, len(answers.truth), "validation")
    if product.rungs and torch.source in _CROSSED:
        return cross_fit(answers.truth, answers.logits[product.name], torch.source)
    return torch
