"""The checkpoint of the first process's run folder, in all processes."""

from pathlib import Path

from edgetl.core.schema import from_json, to_json
from edgetl.workstation.backbones.build import Network, build_network
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.backbones.checkpoint import Checkpoint, load_checkpoint
from edgetl.workstation.training.distributed.ranks import Ranks


def load_everywhere(run: Path, ranks: Ranks) -> tuple[Network, Checkpoint]:
    """Load a run's network, in eval mode, and its facts; only the first process reads the folder.

    Raises the same errors as `load_checkpoint`.
    """
    if not ranks.several:
        return load_checkpoint(run)
    loaded = load_checkpoint(run) if ranks.first else None
    text = ranks.bytes_from_first(to_json(loaded[1]).encode() if loaded else b"")
    facts = from_json(text, Checkpoint, where="the first process's checkpoint")
    if loaded:
        network = loaded[0]
    else:
        network = build_network(find_backbone(facts.backbone), len(facts.labels), facts.head)
        network.model.eval()
    ranks.take_first(list(network.model.state_dict().values()))
    return network, facts
