"""Your own pictures, and a network that somebody else has trained. A template: change the lines marked with <-.

    transferability pack my-pictures data/my-pictures --size 128 --centre-crop    # one folder per class
    transferability run experiments/own_pictures.py
    python plots/figure2.py runs/own_pictures/results.csv

Cost: 52 networks; `transferability plan experiments/own_pictures.py --measure` says what they take on your machine.
"""

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.recipe import Recipe
from transferability.splits import pair
from transferability.study import Network, Study, grid
from transferability.treatment import parse

PICTURES = "my-pictures"  # <- the folder under data/ that `pack` has made
# <- the network, and the side in pixels that it is to see; `transferability layers NETWORK` lists its layers
architecture = chain("torchvision:resnet18", crop=112)
# <- its weights: torchvision:…, timm:…, package:…, or a file, then with mean and std
published = Published("torchvision:ResNet18_Weights.IMAGENET1K_V1")
# <- how long, and how fast: steps of so many pictures each. Try it first: `run … --dry-run-steps 5`
recipe = Recipe("own", steps=300, batch=32, rate=0.02, warmup=30, crop=112, validate_every=100)

# A is what the network was trained on, B are your pictures; n layers are copied (`cuts`), frozen (AnB) or trained on
# (AnB+, AnB+0.1); base is a network from scratch, RnB has random layers in their place. Three seeds give intervals.
kinds = ("base", "AnB", "AnB+", "AnB+0.1", "RnB")
split = "imagenet-pictures"
networks = grid(recipe, architecture.depth, [split], seeds=(0, 1, 2), targets="B", kinds=kinds, cuts=(3, 5, 7, 9))
study = Study(
    "own_pictures",
    PICTURES,
    architecture,
    (Network(split, parse("baseA"), published), *networks),
    {split: pair("imagenet", PICTURES)},
    validation=0.25,  # <- of a folder without its own validation pictures: the share of each class that judges
)
