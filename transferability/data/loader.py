"""How images reach the device: held in its memory, or prefetched a few batches ahead of their use."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
import torch

from transferability import available_cores
from transferability.data.stream import (
    BLOCK,
    Batch,
    DomainBatches,
    FleetImages,
    ResidentImages,
    TaskImages,
    TrainingBatches,
    ValidationBatches,
    to_device,
)
from transferability.data.turned import TurnedBatches
from transferability.files import Refused
from transferability.pretext import Pretext
from transferability.recipe import Recipe

AnyBatches = TrainingBatches | DomainBatches | ValidationBatches | TurnedBatches


def resident(images: TaskImages, device: torch.device) -> ResidentImages:
    """`images` copied into the memory of `device`, a block at a time."""
    copy = torch.empty(len(images.rows), images.size, images.size, 3, dtype=torch.uint8, device=device)
    for start in range(0, len(images.rows), BLOCK):
        copy[start : start + BLOCK] = torch.from_numpy(images.images[images.rows[start : start + BLOCK]])
    return ResidentImages(copy, images.labels)


@dataclass(frozen=True)
class Prefetched:
    """`batches` in the memory of `device`, each made by one of `threads` threads, up to `ahead` ahead of its use.

    On a GPU, copies and crops run in a CUDA stream of their own, at the same time as the training step. The training
    step's stream waits for its batch; the host never waits.
    """

    batches: AnyBatches
    device: torch.device
    threads: int = 1
    ahead: int = 3

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        gpu = self.device.type == "cuda"
        copying: Any = torch.cuda.Stream(self.device) if gpu else None

        def make(index: int) -> tuple[Batch, Any]:
            with torch.cuda.stream(copying) if gpu else nullcontext():
                batch = Batch(*(to_device(part, self.device) for part in self.batches[index]))
                return batch, copying.record_event() if gpu else None

        def take(future: Future[tuple[Batch, Any]]) -> Batch:
            batch, copied = future.result()
            if gpu:
                current = torch.cuda.current_stream(self.device)
                current.wait_event(copied)
                for part in batch:
                    part.record_stream(current)  # or its memory could be given out again while it is in use
            return batch

        pending: deque[Future[tuple[Batch, Any]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                for index in range(len(self.batches)):
                    pending.append(pool.submit(make, index))
                    if len(pending) > self.ahead:
                        yield take(pending.popleft())
                while pending:
                    yield take(pending.popleft())
            finally:
                pool.shutdown(cancel_futures=True)  # the reader may have stopped early


def prefetch_threads(images: TaskImages | ResidentImages) -> int:
    """How many threads make batches of `images` for a GPU: several where pages may have to come from the disk."""
    return 1 if isinstance(images, ResidentImages) else max(1, min(4, available_cores() - 1))


class ImagesModule(L.LightningDataModule):
    """The training and validation images of one fleet.

    `owners`: of the streams of training images, and of those that are seen beside them. `position()` gives (first
    step, end step) of the next stretch of training: up to the next validation. `keep`: whether images are held in the
    device's memory: "yes", "no", or "auto": on a GPU that has room for them beside `needed` bytes.
    """

    def __init__(
        self,
        images: FleetImages,
        recipe: Recipe,
        owners: tuple[str, str],
        position: Callable[[], tuple[int, int]],
        keep: str = "no",
        needed: float = 0.0,
    ) -> None:
        super().__init__()
        self.training: TaskImages | ResidentImages = images.training
        self.validation: TaskImages | ResidentImages = images.validation
        self.more_validation = images.inner or images.beside_validation
        self.beside: TaskImages | ResidentImages | None = images.beside
        self.recipe, self.owners, self.position, self.keep, self.needed = recipe, owners, position, keep, needed
        self.turns = isinstance(recipe, Pretext) and recipe.turns

    def setup(self, stage: str) -> None:
        """Lightning calls this once the device is known: moves the images there, or pins the memory of crops."""
        training, validation = self.training, self.validation
        more = self.beside
        if isinstance(training, ResidentImages) or isinstance(validation, ResidentImages):
            return
        assert not isinstance(more, ResidentImages)
        trainer = self.trainer
        assert trainer is not None
        device = trainer.strategy.root_device
        gpu = device.type == "cuda"
        size = training.bytes + validation.bytes + (more.bytes if more else 0)
        room = torch.cuda.mem_get_info(device)[0] if gpu else 0
        if self.keep == "yes" or (self.keep == "auto" and size + self.needed <= room):
            if gpu and size > room:
                raise Refused(
                    f"--resident yes: the images take {size / 1e9:.0f} GB, and {room / 1e9:.0f} GB of the GPU's "
                    "memory are free; leave it out, and they are prefetched"
                )
            self.training, self.validation = resident(training, device), resident(validation, device)
            self.beside = more and resident(more, device)
        elif gpu:
            self.training, self.validation = replace(training, pinned=True), replace(validation, pinned=True)
            self.beside = more and replace(more, pinned=True)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Batches are made on the device: Lightning has nothing to move."""
        return batch

    def _prefetched(self, batches: AnyBatches) -> Any:
        trainer = self.trainer
        assert trainer is not None
        if (device := trainer.strategy.root_device).type != "cuda":
            return batches
        return Prefetched(batches, device, prefetch_threads(self.training))

    def train_dataloader(self) -> Any:
        """Batches up to the next validation; for a GPU, in its memory."""
        trainer = self.trainer
        assert trainer is not None
        start, stop = self.position()
        rank, world = trainer.global_rank, trainer.world_size
        recipe = self.recipe.taken if isinstance(self.recipe, Pretext) else self.recipe
        batches = TrainingBatches(self.training, recipe, self.owners[0], start, stop, rank, world)
        if self.turns:
            return self._prefetched(TurnedBatches(batches, recipe.batch))
        if self.beside is None:
            return self._prefetched(batches)
        others = TrainingBatches(self.beside, self.recipe, self.owners[1], start, stop, rank, world)
        return self._prefetched(DomainBatches(batches, others))

    def val_dataloader(self) -> Any:
        """All validation images once, then those that are held out or another task's, if any; for a GPU, in its
        memory."""
        trainer = self.trainer
        assert trainer is not None
        parts = [self.validation, *([] if self.more_validation is None else [self.more_validation])]
        rank, world = trainer.global_rank, trainer.world_size
        batches = [ValidationBatches(part, self.recipe.crop, rank, world) for part in parts]
        loaders = [self._prefetched(TurnedBatches(b, len(b.images.labels)) if self.turns else b) for b in batches]
        return loaders if len(loaders) > 1 else loaders[0]
