"""Fast, medium, slow: the small sisters of Chatfield's CNN-F, CNN-M and CNN-S on Tiny ImageNet at 32 pixels.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/fast_medium_slow.py
    python plots/figure2.py runs/fast_medium_slow-f/results.csv

Three studies of one split: bases, selffers and transfer networks at every n, frozen and fine-tuned. The comparison is
Chatfield et al. 2014, table 1, whose networks for 224 pixels are in `experiments/cnn_fms.py`.

Cost: 3 x 58 networks, some two hours on two cores, estimated; nobody has run all of it yet.

Expect: the slower network is better at every n; whether it is also the more specific one, nobody has said.
"""

from transferability.networks.caffenet import small_cnn
from transferability.recipe import Recipe
from transferability.study import Study, grid

recipe = Recipe("fast-medium-slow", steps=4500, batch=64, rate=0.02, warmup=100, crop=28, shrink=2, validate_every=750)

studies = [
    Study(
        f"fast_medium_slow-{kind.lower()}",
        "tiny-imagenet",
        (network := small_cnn(kind, crop=28, width=0.25, dropout=0.2)),
        tuple(grid(recipe, network.depth, ["random-0"])),
    )
    for kind in "FMS"
]
