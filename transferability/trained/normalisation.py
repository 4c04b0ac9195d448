"""What the pixels of a network's images go through: minus the mean image of its source's task, or as published."""

import numpy as np

from transferability.data.stream import mean_image
from transferability.data.tasks import Normalisation, Tasks
from transferability.files import Missing, Refused, write_atomically
from transferability.runs.paths import StudyFolder
from transferability.study import Fleet, Network


def normalisation(of: Network | Fleet, split: str, letter: str, folder: StudyFolder, tasks: Tasks) -> Normalisation:
    """How networks that start from the base of a letter see images of the size of the target's of `of`.

    Minus the mean image of the letter's task; as its base wants it, where that is published. Refused: a mean image of
    another size.
    """
    recipe, size = of.training_recipe, tasks.target(of).packed.size
    base = tasks.study.published_base(split, letter)
    if base is not None:
        return read_normalisation(base, folder, size // recipe.shrink)
    task = tasks.task(split, letter, of.seed)
    if task.packed.size != size:
        raise Refused(
            f"{task.packed.folder} has images of {task.packed.size} pixels, {tasks.target(of).packed.folder} of "
            f"{size}: pack both in one size, since the mean image of one is subtracted from the images of the other"
        )
    size //= recipe.shrink
    return Normalisation(mean_image(task, recipe.shrink, folder.mean(task.name, size)), recipe.scale)


def write_normalisation(base: Network, folder: StudyFolder, mean: np.ndarray, scale: np.ndarray) -> None:
    """Stores what a published base wants. mean: (3,), or an image (S, S, 3). scale: () or (3,)."""
    with write_atomically(folder.normalisation(base.name)) as handle:
        np.savez(handle, mean=mean.astype(np.float32), scale=scale.astype(np.float64))


def read_normalisation(base: Network, folder: StudyFolder, size: int) -> Normalisation:
    """What a published base wants of images of `size` x `size` pixels.

    Missing: it is not fetched yet. Refused: the file is damaged, or its mean image has another size.
    """
    file = folder.normalisation(base.name)
    try:
        with np.load(file) as stored:
            mean, scale = stored["mean"], stored["scale"].tolist()
    except FileNotFoundError:
        raise Missing(f"{base.name} is not fetched yet ({file} does not exist)") from None
    except Exception as error:  # which one depends on the damage
        raise Refused(f"{file} is damaged ({error}); move {file.parent} away to fetch {base.name} again") from None
    if mean.ndim == 3 and mean.shape[0] != size:
        raise Refused(
            f"{base.name} was trained minus a mean image of {mean.shape[0]} pixels, and these images have {size}; pack "
            f"them with --size {mean.shape[0]}"
        )
    return Normalisation(
        np.ascontiguousarray(np.broadcast_to(mean, (size, size, 3))), tuple(scale) if isinstance(scale, list) else scale
    )
