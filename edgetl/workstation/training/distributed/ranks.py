"""The processes that train one network together: which one this is, and what they exchange."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one network together; by default there is only one.

    Every method that exchanges something must be called by all processes in the same order, and
    waits for all of them.

    Attributes:
        rank: the number of this process, from 0.
        count: how many processes there are.
        local_rank: its number on this machine, from 0.
        local_count: how many there are on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run folder and speaks to the user."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are other processes."""
        return self.count > 1

    def named(self, rank: int) -> str:
        """A process in words, for messages."""
        return f"Process {rank} of {self.count}"

    def share(self, count: int, start: int = 0) -> slice:
        """This process's share of `count` things numbered from `start`.

        The shares are contiguous, in the order of the ranks, and differ by at most one in size.
        """
        begin, end = (count * rank // self.count for rank in (self.rank, self.rank + 1))
        return slice(start + begin, start + end)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in the order of the ranks. Values are sent as JSON."""
        if not self.several:
            return [value]
        sent = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        return [json.loads(bytes(part.tolist())) for part in self._gather_tensors(sent)]

    def from_first(self, value: Any) -> Any:
        """The first process's value, for which the others may pass None. Sent as JSON."""
        return json.loads(self.bytes_from_first(json.dumps(value).encode()))

    def bytes_from_first(self, data: bytes) -> bytes:
        """The first process's bytes."""
        if not self.several:
            return data
        length = torch.tensor([len(data)])
        dist.broadcast(length, 0)
        sent = torch.zeros(int(length), dtype=torch.uint8)
        if self.first and data:
            sent.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        dist.broadcast(sent, 0)
        return sent.numpy().tobytes()

    def gather_rows(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of the ranks, on the CPU.

        `rows` is a CPU tensor [n, ...]; n, but nothing else, may differ between processes, and may
        be 0.
        """
        if not self.several:
            return rows
        flat = rows.contiguous().view(-1).view(torch.uint8)
        gathered = torch.cat(self._gather_tensors(flat))
        return gathered.view(rows.dtype).view(-1, *rows.shape[1:])

    def take_first(self, tensors: list[Tensor]) -> None:
        """Overwrite tensors by the first process's, so that all go on with the same bits."""
        if self.several:
            for tensor in tensors:
                whole = tensor.detach().contiguous()
                dist.broadcast(whole, 0)
                with torch.no_grad():
                    tensor.copy_(whole)

    def add_up(self, tensor: Tensor) -> None:
        """Replace a contiguous tensor by its sum over the processes."""
        if self.several:
            dist.all_reduce(tensor)

    def one_first(self, make: Callable[[], Result]) -> Result:
        """Call `make` in the first process of each machine, and then in the others.

        For what is downloaded or cached once per machine.
        """
        if self.local_rank == 0:
            made = make()
        self.gather(None)
        if self.local_rank != 0:
            made = make()
        return made

    def _gather_tensors(self, flat: Tensor) -> list[Tensor]:
        """The processes' tensors, uint8 [any length] each."""
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(lengths, torch.tensor([len(flat)]))
        longest = max(int(length) for length in lengths)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(flat)] = flat
        gathered = [torch.zeros_like(padded) for _ in lengths]
        dist.all_gather(gathered, padded)
        return [part[: int(length)] for part, length in zip(gathered, lengths, strict=True)]


ALONE = Ranks()
