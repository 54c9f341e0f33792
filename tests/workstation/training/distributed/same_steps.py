"""Two processes train side by side with one; the first prints what differed, as JSON.

Run in each process by `tests.workstation.training.distributed.started`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgetl.core.errors import EdgetlError
from edgetl.workstation.training.distributed.agreement import require_same_everywhere
from edgetl.workstation.training.distributed.joining import joined_ranks
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks
from edgetl.workstation.training.scoring import evaluate_network
from edgetl.workstation.training.trainer import Trainer
from tests.workstation.training.tiny import NOTHING, made, recipe, train_all, trainer, weights

# 13 pictures in 3 steps, of which two processes take 2 and 3, 2 and 2, and 2 and 2.
PICTURES, HELD_OUT = 13, 7
RATES = ("finetune.backbone_rate=1e-2", "finetune.head_rate=1e-2", "finetune.epochs=3")
RECIPES = {
    "weighted classes, average, anchor, clipping": (
        "finetune.imbalance=weights", "finetune.ema=0.9", "finetune.l2sp=0.1",
        "finetune.clip_norm=0.5", "finetune.label_smoothing=0.1", "finetune.optimizer=sgd",
    ),
    "mixed pictures, drawn by class": (
        "augment.mixup=0.4", "augment.cutmix=1.0", "augment.erase=0.3",
        "finetune.imbalance=sampling", "finetune.optimizer=adamw",
    ),
    "frozen front": ("finetune.trainable_blocks=1", "finetune.optimizer=sgd"),
}  # fmt: skip


def begun(more: tuple[str, ...], ranks: Ranks, state: Path | None = None) -> Trainer:
    wanted = recipe(*RATES, *more)
    pictures = made(PICTURES)
    pictures.labels[:5] = 0  # uneven classes
    return trainer(
        wanted, prepared=True, train=pictures, val=made(HELD_OUT), ranks=ranks, state=state
    )


def trained(more: tuple[str, ...], ranks: Ranks) -> tuple[dict[str, Tensor], list[float]]:
    """The averaged network's weights, and the figures of each epoch."""
    it = begun(more, ranks)
    figures = []
    for end in train_all(it):
        assert end.val
        figures += [end.loss, end.val.loss, end.val.top1, *end.val.logits.ravel().tolist()]
    return {**weights(it.averaged), **{f"live.{k}": v for k, v in weights(it.network).items()}}, (
        figures
    )


def largest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[k].double() - other[k].double()).abs().max()) for k in one)


def differences(ranks: Ranks) -> dict[str, float]:
    found = {}
    for name, more in RECIPES.items():
        together, their_figures = trained(more, ranks)
        alone, figures = trained(more, ALONE)
        found[name] = largest(together, alone)
        found[f"{name}: figures"] = float(np.abs(np.subtract(their_figures, figures)).max())
        found[f"{name}: between ranks"] = largest(
            together, {k: torch.tensor(v) for k, v in ranks.from_first(listed(together)).items()}
        )
    return found


def listed(tensors: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def resumed(first: Ranks, second: Ranks, ranks: Ranks, folder: Path) -> float:
    """How far a run that changes its number of processes after an epoch ends from one that does
    not."""
    more = RECIPES["weighted classes, average, anchor, clipping"]
    path = folder / f"{first.count} to {second.count} of {ranks.rank}.pt"
    it = begun(more, first)
    next(it.epochs(lambda: NOTHING))
    it.state(path, NOTHING).write()
    later = begun(more, second, state=path)
    train_all(later)
    whole = begun(more, ALONE)
    train_all(whole)
    return largest(weights(later.averaged), weights(whole.averaged))


def exchanges(ranks: Ranks) -> dict[str, object]:
    shares = [Ranks(rank, 3).share(7, start=10) for rank in range(3)]
    own = np.arange(10.0).reshape(5, 2)[ranks.share(5)]
    none = torch.zeros(0, 3) if ranks.rank == 0 else torch.ones(1, 3)
    network = begun((), ALONE).network
    one = made(1)
    score = evaluate_network(
        network.model, one, begun((), ranks).setup.spec, begun((), ranks).setup.compute, exact=True
    )
    try:
        facts = {"the version of torch": "2", "the recipe": f"of {ranks.rank}"}
        require_same_everywhere(facts, ranks)
        refused = ""
    except EdgetlError as error:
        refused = str(error)
    return {
        "shares": [(share.start, share.stop) for share in shares],
        "gathered": ranks.gather({"rank": ranks.rank}),
        "rows": ranks.gather_rows(torch.from_numpy(own)).tolist(),
        "rows of one": ranks.gather_rows(none).tolist(),
        "one picture": len(score.logits),
        "refused": refused,
    }


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_default_dtype(torch.float64)
    # So that rounding cannot hide a difference: training is in float64 wherever it says float32.
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    torch.float32 = torch.float64  # type: ignore[misc]
    with joined_ranks("cpu") as ranks:
        found = {
            "differences": differences(ranks),
            "resumed": [
                resumed(ranks, ALONE, ranks, folder), resumed(ALONE, ranks, ranks, folder)
            ],
            **exchanges(ranks),
        }  # fmt: skip
        if ranks.first:
            print(json.dumps(found))


if __name__ == "__main__":
    main()
