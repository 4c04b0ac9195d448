"""Which module trains a recipe of which type: the one place at which a new method is entered."""

from typing import Any

import numpy as np

from transferability.adda import Adda
from transferability.adversarial import Adversarial
from transferability.aligned import Aligned
from transferability.data.tasks import Tasks
from transferability.jointly_translated import JointlyTranslated
from transferability.multitask import LabelHeads
from transferability.published import Published
from transferability.study import Fleet, Study
from transferability.training.aligned import AlignedModule
from transferability.training.domains import AddaModule, AdversarialModule
from transferability.training.fleet import FleetModule
from transferability.training.jointly_translated import JointlyTranslatedModule
from transferability.training.multitask import LabelHeadsModule, MultitaskModule
from transferability.training.translated import TranslatedModule
from transferability.training.zero_shot import Described, ZeroShotModule
from transferability.translated import Translated
from transferability.zero_shot import ZeroShot

MODULES: dict[type, type[FleetModule]] = {
    Adversarial: AdversarialModule,
    Adda: AddaModule,
    Aligned: AlignedModule,
    JointlyTranslated: JointlyTranslatedModule,
    LabelHeads: LabelHeadsModule,
    Translated: TranslatedModule,
}


def fleet_module(study: Study, fleet: Fleet, tasks: Tasks | None, classes: int, *arguments: Any) -> FleetModule:
    """The module of a fleet, as its recipe's type says. classes: of the target. arguments: the others of `FleetModule`.

    tasks: None where a fleet is only measured: what else it has to know of its classes is invented.
    """
    if fleet.shares_layers:
        both = {task.letter: len(task.classes) for task in tasks.all_of(fleet)} if tasks else {}
        return MultitaskModule(study, fleet, both or dict.fromkeys(fleet.tasks, classes), *arguments)
    if isinstance(fleet.recipe, ZeroShot):
        return ZeroShotModule(study, fleet, _described(study, fleet, fleet.recipe, tasks, classes), *arguments)
    return MODULES.get(type(fleet.recipe), FleetModule)(study, fleet, classes, *arguments)


def _described(study: Study, fleet: Fleet, recipe: ZeroShot, tasks: Tasks | None, classes: int) -> Described:
    if tasks is None:
        invented = np.eye(classes, dtype=np.float32)
        return Described(invented, invented, classes)
    base = study.published_base(fleet.split, fleet.labelled)
    outputs = len(tasks.task(fleet.split, fleet.labelled, fleet.seed).classes)
    if base is not None and isinstance(base.recipe, Published):
        outputs = base.recipe.classes
    table = tasks.descriptions(recipe.table)
    seen, unseen = (table.of(task.class_ids) for task in (tasks.labelled(fleet), tasks.target(fleet)))
    return Described(seen, unseen, outputs)
