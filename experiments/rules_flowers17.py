"""Which rule for copied layers, with 5 and with 40 flowers per class, from EfficientNet-Lite0?

    transferability pack 17flowers data/flowers17 --size 96 --centre-crop
    transferability run experiments/rules_flowers17.py
    python plots/rules.py runs/rules_flowers17-5/results.csv
    python plots/rules.py runs/rules_flowers17-40/results.csv

Every rule of the grammar (`transferability/rules.py`) with all layers copied but the last, n = 19, and with 5 flowers
per class also at one cut, n = 13, paired with fine-tuning at a tenth on the same images; two studies, of 5 and of 40
flowers per class; three seeds; 16 images per step. Weights as in `flowers17.py`.

Cost: 52 and 28 networks, about two minutes on a GPU, a quarter of an hour on two cores.

Expect: at 5 per class frozen features in front at n = 19, and hardly a rule that can be told from fine-tuning at a
tenth; at 40 gradual thawing first, probing first last: it then trains all layers at the full rate.
"""

from dataclasses import replace

import flowers17
from regimes import CHAIN_THAW, short

from transferability.study import Study, grid

RULES = ("AnB", "AnB+", "AnB+0.1", "AnB+probe", "AnB+gradual", "AnB+fall", "AnB+sp")
lite0 = flowers17.studies[0]


def study(images: int, steps: int, cuts: tuple[int, ...]) -> Study:
    recipe = replace(short(flowers17.recipe, steps, images), batch=16)
    thawed = replace(recipe, name=f"{recipe.name}-chain", **CHAIN_THAW)
    networks = [
        network
        for chosen, kinds in ((recipe, ("base", *RULES)), (thawed, ("AnB+chain",)))
        for network in grid(chosen, 20, [flowers17.SPLIT], (0, 1, 2), "B", kinds, cuts=cuts)
    ]
    chosen = (lite0.networks[0], *(replace(network, images_per_class=images) for network in networks))
    return Study(f"rules_flowers17-{images}", "flowers17", lite0.architecture, chosen, lite0.splits, validation=20)


studies = [study(5, 88, (13, 19)), study(40, 176, (19,))]
