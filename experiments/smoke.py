"""Smoke study: the whole path in seconds. It shows that the software works, and says nothing about features.

    transferability pack demo data/demo
    transferability run experiments/smoke.py

Cost: 28 tiny networks of 12 steps each, about 20 seconds on two cores, mostly start-up. It contains every kind of
treatment. Expect accuracies at chance (.05).
"""

from transferability.networks import small_caffenet
from transferability.recipe import Recipe, long
from transferability.study import Study, grid, network

architecture = small_caffenet(crop=28, width=0.08, dropout=0.5)
recipe = Recipe(name="smoke", steps=12, batch=16, rate=0.01, crop=28, validate_every=6)

networks = [
    *grid(recipe, 3, ["random-0"], kinds=("base", "BnB", "BnB+", "AnB", "AnB+", "RnB")),
    network("random-0/B7A", recipe),
    network("random-0/A3Bp2", recipe),
    network("random-0/A3B+0.1", recipe),
    network("random-0/B8B+", recipe),
    network("random-0/A3B@10", recipe),
    network("random-0/baseB", long(recipe), variant="long"),
]

study = Study(name="smoke", data="demo", architecture=architecture, networks=tuple(networks))
