"""A trained network on disk: tensors as safetensors, facts as JSON, no pickles."""

from pathlib import Path

import safetensors.torch

from edgetl.bundle.manifest import Temperature
from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import TeacherFacts, TemperatureSource, Twin
from edgetl.core.errors import WeightsError
from edgetl.core.files import atomic_write, sha256_of, write_text
from edgetl.core.schema import Frozen, from_json, read_document, to_json
from edgetl.workstation.backbones.build import Network, build_network
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.backbones.weights import fit_weights, read_state_dict
from edgetl.workstation.recipe import Head

TENSORS_FILE = "checkpoint.safetensors"
FACTS_FILE = "checkpoint.json"


class Checkpoint(Frozen, kw_only=True, frozen=True):
    """The contents of `checkpoint.json`.

    Attributes:
        head: the layers between the features and the logits.
        weights: what training started from, e.g. "imagenet (mobilenet_v2-b0353104.pth)".
        val_top1: fraction of the validation part classified correctly, 0 to 1, in torch float32;
            None if there is no such part.
        test_top1: the same on the test part.
        probe_test_top1: the same on the test part for the linear probe that training started from;
            None if there was no probe or no test part.
        sha256: the hash of `checkpoint.safetensors`.
        finished: False while training runs or if it was interrupted.
        temperature: what logits are divided by before softmax; fitted when training has ended,
            1.0 until then.
        temperature_from: "validation": fitted on the validation part; "test, cross-fitted": fitted
            on the test part, as there is no validation part (`edgetl.evaluation.temperature`);
            "twin": taken from `twin`; None: not fitted.
        twin: for a network that was refitted on every picture: the run that was measured instead.
        teacher: the network that taught this one; None if only labels did.
    """

    backbone: str
    labels: tuple[str, ...]
    preprocess: Preprocess
    weights: str
    training_images: int
    val_top1: float | None
    test_top1: float | None
    sha256: str
    finished: bool
    temperature: Temperature = 1.0
    head: Head = Head()
    probe_test_top1: float | None = None
    temperature_from: TemperatureSource | None = None
    twin: Twin | None = None
    teacher: TeacherFacts | None = None


def save_tensors(folder: Path, network: Network) -> str:
    """Write `checkpoint.safetensors` atomically; returns its sha256.

    Auxiliary heads are not saved, because only training uses them.
    """
    auxiliary_prefixes = tuple(f"{auxiliary.path}." for auxiliary in network.backbone.auxiliary)
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.model.state_dict().items()
        if not name.startswith(auxiliary_prefixes)
    }
    path = folder / TENSORS_FILE
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(tensors))
    return sha256_of(path)


def save_facts(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint.json`."""
    write_text(folder / FACTS_FILE, to_json(checkpoint))


def read_facts(folder: Path) -> Checkpoint:
    """Read `checkpoint.json`. Raises WeightsError if it is missing, SchemaError if invalid."""
    path = folder / FACTS_FILE
    if not path.is_file():
        raise WeightsError(
            f"'{folder}' is not a run: it has no {FACTS_FILE}.",
            hint="make one with `edgetl finetune DATA -o RUN`.",
        )
    return from_json(read_document(path), Checkpoint, where=f"'{path}'")


def load_checkpoint(folder: Path) -> tuple[Network, Checkpoint]:
    """Load the trained network of a run folder, in eval mode, and its facts.

    Raises WeightsError if the tensors were altered or belong to another backbone.
    """
    facts = read_facts(folder)
    path = folder / TENSORS_FILE
    state = read_state_dict(path)
    network = build_network(find_backbone(facts.backbone), len(facts.labels), facts.head)
    fit_weights(network.model, state, what=f"{path}' as '{facts.backbone}")
    if sha256_of(path) != facts.sha256:
        raise WeightsError(
            f"'{path}' does not match the sha256 in {FACTS_FILE}.",
            hint="both files must come from the same run; fine-tune again.",
        )
    network.model.eval()
    return network, facts
