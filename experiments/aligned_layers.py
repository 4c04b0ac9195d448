"""At which layer should domains be made alike, and how far apart are they there? Drawings near and far.

    transferability pack demo-domains:0 data/demo-domains-0
    transferability pack demo-domains data/demo-domains-1
    transferability run experiments/aligned_layers.py
    python plots/aligned_layers.py runs/aligned_layers-1/curves.csv
    python plots/domains.py runs/aligned_layers-1/results.csv

A is painted, B is drawn; at distance 0 the two have one distribution, other images. Three seeds. At n = 1 … 7 DANN
(@dann) and the same without strength (@off), whose domain classifier shows how far apart the domains are at layer n
when nothing makes them alike; what DANN gains over @off at distance 0 is no adaptation.

Cost: 2 x 51 networks, ten minutes on two busy cores (11 minutes of processor time).

Expect: at distance 0 domains are told apart by 50 to 51 %, and DANN gains nothing; between painted and drawn by 68 to
71 without and 63 to 67 with DANN, which gains nothing over @off there either, at any n.
"""

from dataclasses import replace

from transferability.adversarial import Adversarial
from transferability.networks import small_caffenet
from transferability.recipe import Recipe
from transferability.splits import domains
from transferability.study import Network, Study, grid

SPLIT, SEEDS = "painted-drawn", (0, 1, 2)
architecture = small_caffenet(crop=28, width=0.25, dropout=0.0)
recipe = Recipe("demo", steps=480, batch=64, rate=0.04, warmup=50, crop=28, validate_every=120)
dann = Adversarial(**{**vars(recipe), "name": "dann", "rate": 0.01, "steps": 240, "validate_every": 60})


def of(how: Recipe, *kinds: str, targets: str = "B", variant: str = "") -> list[Network]:
    networks = grid(how, architecture.depth, [SPLIT], SEEDS, targets, kinds, cuts=range(1, architecture.depth))
    return [replace(network, variant=variant) for network in networks]


networks = (
    *of(recipe, "base", targets="AB"),
    *of(recipe, "A8B"),
    *of(dann, "AnB+", variant="dann"),
    *of(replace(dann, name="off", strength=0.0), "AnB+", variant="off"),
)
studies = [
    Study(
        f"aligned_layers-{word}",
        f"demo-domains-{word}",
        architecture,
        networks,
        {SPLIT: domains("painted", "drawn")},
    )
    for word in ("0", "1")
]
