"""Features of a layer as descriptors: query by picture, on Flowers-17 and every layer of a published network.

    transferability pack 17flowers data/flowers17 --size 256 --centre-crop
    transferability run experiments/retrieval.py
    python plots/readout_by_layer.py runs/retrieval/results.csv --measure val_map

Razavian et al. 2014, section 4: features of length 1, whitened, of length 1 again (AnB@white), and without whitening
(AnB@plain). The whitening keeps 64 principal components, a tenth of the 680 training images; AnB@all keeps all of them,
as a warning. Every validation image is a query; the training images are put in the order of their distance. val_map is
the mean average precision over queries, val_top1 the precision of the nearest, val_precision_ten of the ten nearest.
Weights of SqueezeNet 1.0 as in experiments/flowers17.py.

Cost: 66 readouts of three seeds, nothing is fitted but the whitening: three minutes on two busy cores.

Expect: mean average precision grows with n up to the last block. Whitening by 64 components does not help here, and by
all of them ruins it: nothing is near anything else any more.
"""

from dataclasses import replace

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.readout import Readout
from transferability.splits import pair
from transferability.study import Study, grid, network

SPLIT = "imagenet-flowers17"
architecture = chain("torchvision:squeezenet1_0", 224)
published = Published("data/weights/squeezenet1_0.safetensors", mean=(123, 117, 104), std=(1, 1, 1))
plain = Readout("plain", crop=224, classifier="retrieval", transforms=("l2",))
white = replace(plain, name="white", transforms=("l2", "whiten", "l2"), components=64)
every = replace(white, name="all", components=None)
cuts = range(1, architecture.depth + 1)
readouts = [
    replace(member, variant=recipe.name)
    for recipe, layers in ((plain, cuts), (white, cuts), (every, (9,)))
    for member in grid(recipe, architecture.depth, [SPLIT], (0, 1, 2), "B", ("AnB",), layers)
]
handmade = [network(f"{SPLIT}/R0B@hog/seed-{seed}", replace(plain, handmade="hog")) for seed in (0, 1, 2)]
study = Study(
    "retrieval",
    "flowers17",
    architecture,
    (network(f"{SPLIT}/baseA", published), *readouts, *handmade),
    {SPLIT: pair("imagenet", "flowers17")},
    validation=20,
)
