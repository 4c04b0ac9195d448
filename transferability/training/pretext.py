"""The images of a base that is trained without labels (`Pretext`), and the labels that are made for them."""

from dataclasses import replace

import numpy as np

from transferability.data.stream import FleetImages, task_images
from transferability.data.tasks import Task
from transferability.draws import numpy_generator
from transferability.pretext import Pretext


def pretext_images(recipe: Pretext, task: Task, owner: str) -> FleetImages:
    """What the base of a task sees: turned images (`TurnedBatches` makes their labels), or exemplars.

    owner: of the stream of images; it draws the exemplars. They are validated on, too: as central crops.
    """
    training = task_images(task.unlabelled(), recipe.shrink)
    if recipe.turns:
        return FleetImages(training, task_images(task.unlabelled(validation=True), recipe.shrink))
    chosen = numpy_generator("exemplars", owner).permutation(len(training.rows))[: recipe.exemplars]
    exemplars = replace(training, rows=training.rows[chosen], labels=np.arange(len(chosen)))
    return FleetImages(exemplars, exemplars)
