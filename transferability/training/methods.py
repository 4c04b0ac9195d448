"""Which module trains a recipe of which type: the one place at which a new method is entered."""

from typing import Any

from transferability.adda import Adda
from transferability.adversarial import Adversarial
from transferability.aligned import Aligned
from transferability.study import Fleet, Study
from transferability.training.aligned import AlignedModule
from transferability.training.domains import AddaModule, AdversarialModule
from transferability.training.fleet import FleetModule
from transferability.training.translated import TranslatedModule
from transferability.translated import Translated

MODULES: dict[type, type[FleetModule]] = {
    Adversarial: AdversarialModule,
    Adda: AddaModule,
    Aligned: AlignedModule,
    Translated: TranslatedModule,
}


def fleet_module(study: Study, fleet: Fleet, *arguments: Any) -> FleetModule:
    """The module of a fleet, as its recipe's type says. arguments: the others of `FleetModule`."""
    return MODULES.get(type(fleet.recipe), FleetModule)(study, fleet, *arguments)
