"""Batches in which each image is shown turned by 0, 90, 180 and 270 degrees: what a base learns from without labels."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from transferability.data.stream import Batch, TrainingBatches, ValidationBatches
from transferability.pretext import TURNS


@dataclass(frozen=True)
class TurnedBatches:
    """Batches of four times the images of `batches`; the labels are the number of quarter turns. For Lightning.

    What is given of labels is not looked at. total: images of a whole batch, in all processes: the places of copies in
    the global batch follow those of the images as they are.
    """

    batches: TrainingBatches | ValidationBatches
    total: int

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        batch = self.batches[index]
        copies = [
            batch._replace(
                pixels=turned(batch.pixels, batch.mirror, turns),
                labels=torch.full((len(batch.rows),), turns),
                rows=batch.rows + turns * self.total,
            )
            for turns in range(TURNS)
        ]
        pixels, *others = (torch.cat(parts) for parts in zip(*copies, strict=True))
        return Batch(pixels.contiguous(memory_format=torch.channels_last), *others)

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))


def turned(pixels: Tensor, mirror: Tensor, turns: int) -> Tensor:
    """(b, 3, c, c): images by so many quarter turns anticlockwise, as they are seen.

    Images that are going to be mirrored are turned the other way: mirrored, a turn to the left is one to the right.
    """
    left, right = (torch.rot90(pixels, sign * turns, (2, 3)) for sign in (1, -1))
    return torch.where(mirror.to(pixels.device)[:, None, None, None], right, left)
