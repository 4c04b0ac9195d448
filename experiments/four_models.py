"""Four models of Flowers-17: from scratch, features, fine-tuned, chain-thaw.

    transferability pack 17flowers data/flowers17 --size 96 --centre-crop
    transferability run experiments/four_models.py
    transferability results experiments/four_models.py

What a well-known exercise compares, on the same flowers, 40 per class, judged on the same 20 per class, three seeds:
a network from scratch (baseB, and baseB@long with four times the steps); EfficientNet-Lite0, published, as it is, with
a new last layer (A19B); fine-tuned at a tenth of the rate (A19B+0.1); and chain-thawed (A19B+chain, Felbo et al. 2017:
the new layer, then each layer alone from the first to the last, then all). Every one has as many steps of 16 images,
scratch once more. Weights as in `flowers17.py`.

Chain-thaw as in its authors' code: the new layer until it fits, here for half of the steps, then a tenth of the rate.
A19B+chain@equal has 22 phases of six steps each, all at the full rate.

Cost: 19 networks, about 5 minutes on two cores.

Expect: scratch far below the others, also with four times the steps; features first by the means, then chain-thaw, then
fine-tuning at a tenth. With equal phases at the full rate chain-thaw loses all that was copied.
"""

from dataclasses import replace

import flowers17
from regimes import CHAIN_THAW, short

from transferability.study import Study, grid

STEPS = 132  # six for each of 22 equal phases
lite0 = flowers17.studies[0]
recipe = replace(short(flowers17.recipe, STEPS, 40), batch=16)
longer = replace(short(flowers17.recipe, 4 * STEPS, 40), batch=16)
SPLIT, SEEDS = [flowers17.SPLIT], (0, 1, 2)
thawed = replace(recipe, name="flowers17-40-chain", **CHAIN_THAW)
networks = [
    *grid(recipe, 20, SPLIT, SEEDS, "B", ("base", "AnB", "AnB+0.1"), cuts=(19,)),
    *grid(thawed, 20, SPLIT, SEEDS, "B", ("AnB+chain",), cuts=(19,)),
]
scratch = grid(replace(longer, name="flowers17-40-long"), 20, SPLIT, SEEDS, "B", ("base",))
equal = grid(recipe, 20, SPLIT, SEEDS, "B", ("AnB+chain",), cuts=(19,))

study = Study(
    "four_models",
    "flowers17",
    lite0.architecture,
    (
        lite0.networks[0],
        *(replace(network, images_per_class=40) for network in networks),
        *(replace(network, images_per_class=40, variant="long") for network in scratch),
        *(replace(network, images_per_class=40, variant="equal") for network in equal),
    ),
    lite0.splits,
    validation=20,
)
