"""The first n layers shared by the networks of two tasks, or of all labels, trained together: `A5B+@multitask`.

Caruana 1997, "Multitask learning" (hard sharing of hidden layers). Nothing is copied, and no base is needed.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from transferability.files import Refused
from transferability.recipe import Recipe
from transferability.treatment import LayerPlan, Treatment

MOST_HEADS = 100  # networks of one label each that are trained side by side


@dataclass(frozen=True)
class Multitask(Recipe):
    """Two networks, one of each task, that have their first n layers in common; all layers are drawn afresh.

    `A5B+` is B's network of the pair, `B5A+` A's: where a study names both, one training makes both. Each step sees
    `batch` images of each task, each task's minus its own mean image; a network sees as many images of its task as its
    base does. With n = 0 nothing is shared: the networks are, bit for bit, the bases of the same recipe. The layers
    above n start from the draws of the base, so that what differs from it is what is shared.

    weight: of each task's gradient in the shared layers. 0.5: their mean; 1: their sum, as in the paper.
    """

    weight: float = 0.5

    needs_base = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.weight < math.inf:
            raise Refused(f"recipe {self.name!r}: weight is {self.weight!r}; write a number above 0")
        for field, plain in (("stop", ""), ("class_weights", "equal"), ("auc", False), ("clip", 0.0)):
            if getattr(self, field) != plain:
                raise Refused(
                    f"recipe {self.name!r}: {field} is {getattr(self, field)!r}; two tasks that are trained together "
                    "have none, leave it out"
                )

    def layers(self, treatment: Treatment, depth: int) -> tuple[LayerPlan, ...]:
        """What each of `depth` layers starts from and how fast it learns, whatever n is."""
        return (LayerPlan("fresh", 1.0),) * depth

    def check(self, treatment: Treatment, depth: int, tasks: Iterable[str]) -> None:
        """Refuses what shares no first layers of two tasks. tasks: of the split."""
        letters = {treatment.source, treatment.target}
        plain = Treatment(treatment.target, treatment.source, treatment.n, rate=1.0)
        if treatment != plain or letters != {"A", "B"} or not letters <= {*tasks}:
            raise Refused(
                f"{treatment}: recipe {self.name!r} trains two tasks together; write A{treatment.n}B+ for B's network, "
                f"B{treatment.n}A+ for A's"
            )
        if treatment.n >= depth:
            raise Refused(
                f"{treatment}: {treatment.n} layers cannot be shared, the network has {depth}, and the last is each "
                "task's own"
            )


@dataclass(frozen=True)
class LabelHeads(Recipe):
    """A network for each label of the target, that have their first n layers in common: `B5B+@heads`.

    All layers are drawn afresh. Those above n are each label's own, and put out one number: whether an image has the
    label. They start from the draws of the base, each from its own output of the last layer. With n = 0 nothing is
    shared: as many networks as labels. With all layers but the last the network is the base of the same recipe, but
    for rounding. The loss is the sum over labels, as a base's: the gradient in shared layers is the sum of all.
    """

    loss: str = "sigmoid"

    needs_base = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in ("sigmoid", "hinge"):
            raise Refused(f"recipe {self.name!r}: loss is {self.loss!r}; each label by itself has 'sigmoid' or 'hinge'")
        if self.clip:
            raise Refused(
                f"recipe {self.name!r}: clip is {self.clip!r}; it would join what is not shared, leave it out"
            )

    def layers(self, treatment: Treatment, depth: int) -> tuple[LayerPlan, ...]:
        """What each of `depth` layers starts from and how fast it learns, whatever n is."""
        return (LayerPlan("fresh", 1.0),) * depth

    def check(self, treatment: Treatment, depth: int, outputs: Mapping[str, int]) -> None:
        """Refuses what shares no first layers of one task's labels. outputs: labels of each task; 0: not known yet."""
        target, n = treatment.target, treatment.n
        if treatment != Treatment(target, target, n, rate=1.0) or target not in outputs or n >= depth:
            raise Refused(
                f"{treatment}: recipe {self.name!r} trains a network for each label of one task; write "
                f"{target}n{target}+, n from 0 to {depth - 1}"
            )
        if outputs[target] > MOST_HEADS:
            raise Refused(
                f"{treatment}: {outputs[target]} labels are as many networks above layer {n}, and {MOST_HEADS} is the "
                "most; pack fewer labels (--least)"
            )


def partner(treatment: Treatment) -> Treatment:
    """The other network of the pair."""
    return replace(treatment, source=treatment.target, target=treatment.source)
