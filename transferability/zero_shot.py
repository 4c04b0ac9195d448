"""Classes never seen, known by what a table says of them: `A7B@attributes`, `A7B@embedding`.

The first n layers are A's, frozen. A map from their features to what the table says of A's classes is trained on A's
images; B's classes are recognised by what it says of them.
"""

from dataclasses import dataclass

from transferability.adversarial import hidden_units
from transferability.files import Refused
from transferability.recipe import Recipe
from transferability.treatment import LayerPlan, Treatment

BY = ("attributes", "embedding")
UNDESCRIBED = ("refused", "left out")


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Recipe):
    """Trained on A's images and labels, judged on B's validation images, whose classes have no training image.

    Direct attribute prediction (Lampert et al. 2009, section 2.1, equation 4): a logistic unit for each attribute on
    the features of layer n; the scores are the log posteriors of the classes.
    # Paper: support vector machines with calibrated outputs, on several features. Here logistic regression in steps of
    gradient descent on one layer; attributes that all seen classes have, or none, are left out.

    An embedding: the score of a class is the product of its embedding, of length 1, and of what a map makes of the
    features. Without hidden layers that is the bilinear compatibility of ALE (Akata et al. 2013), DeViSE (Frome et al.
    2013) and ESZSL (Romera-Paredes and Torr 2015), which differ in the loss.
    # Paper: `loss` says which. "softmax" over A's classes is none of theirs; "ranking" is DeViSE's (equation 1) with
    margin 1 and all wrong classes; ALE's weights by rank, and ESZSL's squares with their closed form, are not built.

    In the generalised setting (Chao et al. 2016; Xian et al. 2017) an image may be of any class, seen or not: val_seen
    is the mean over A's classes of their accuracy on A's validation images, val_unseen that of B's classes on B's,
    val_harmonic their harmonic mean. Nothing is done about scores that favour seen classes.

    table: what is said of classes: one of the package's tables by its name, as "tiny-imagenet-hypernyms", or a CSV file
        in the folder of data, as "vectors.csv": a column `id` with the ids of classes, and a column for each attribute
        (0 or 1) or each number of an embedding.
    by: "attributes" (direct attribute prediction) or "embedding".
    undescribed: what becomes of classes without a row: they are "refused", or "left out", in training and judging.
    hidden: units of hidden layers between the features and the map, each with a ReLU; by "embedding".
    class_hidden: units of layers between a class's embedding and the product, each but the last with a ReLU. (): none.
    """

    table: str
    by: str = "attributes"
    undescribed: str = "refused"
    hidden: tuple[int, ...] = ()
    class_hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, allowed in (("by", BY), ("undescribed", UNDESCRIBED)):
            if getattr(self, field) not in allowed:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}, not {' or '.join(allowed)}")
        for field in ("hidden", "class_hidden"):
            object.__setattr__(self, field, hidden_units(self, field))
            if getattr(self, field) and self.by == "attributes":
                raise Refused(f"recipe {self.name!r}: {field} goes with by='embedding'; attributes have a unit each")
        if type(self.table) is not str or not self.table:
            raise Refused(f"recipe {self.name!r}: table is {self.table!r}; write the name of a table, as 'vectors.csv'")
        if self.by == "attributes" and (self.loss != "softmax" or self.label_smoothing):
            raise Refused(f"recipe {self.name!r}: attributes have a logistic loss each; leave loss and smoothing out")
        if self.stop or self.auc or self.class_weights != "equal" or self.frozen_norms != "source":
            raise Refused(
                f"recipe {self.name!r}: stop, auc, class_weights and frozen_norms are for networks that see images of "
                "their target in training; leave them out"
            )
        if self.loss not in ("softmax", "hinge", "ranking"):
            raise Refused(f"recipe {self.name!r}: loss is {self.loss!r}, not softmax, hinge or ranking")

    def layers(self, treatment: Treatment, depth: int) -> tuple[LayerPlan, ...]:
        """What each of `depth` layers starts from: the first n are A's, frozen; those above are not there."""
        return (LayerPlan("copied", 0.0),) * treatment.n + (LayerPlan("absent", 0.0),) * (depth - treatment.n)

    def check(self, treatment: Treatment) -> None:
        """Refuses what has no classes that its source has not seen."""
        if treatment.kind != "transfer" or treatment.source == "W":
            raise Refused(
                f"{treatment}: recipe {self.name!r} judges classes that its source has not seen; write A{treatment.n}B "
                f"or B{treatment.n}A"
            )
