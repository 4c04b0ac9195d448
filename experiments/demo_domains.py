"""Two domains in a minute, without any download: the demo's classes painted, judged as drawings.

    transferability pack demo-domains data/demo-domains
    transferability run experiments/demo_domains.py
    python plots/domains.py runs/demo_domains/results.csv
    python plots/aligned_layers.py runs/demo_domains/curves.csv
    transferability features experiments/demo_domains.py painted-drawn/B6A@without without.npz
    transferability features experiments/demo_domains.py painted-drawn/B6A@with with.npz
    python plots/embedding.py without.npz with.npz

A is painted, B is drawn. The source's network as it is (A8B), the target's base, DANN at layers 2, 4 and 6, without
strength (@off), the classifier's last layers copied and the lower ones drawn afresh and trained on B's labels (AtnB).
`pack demo-domains:0.5` packs drawings half as far away, and `demo-domains:0` such as are none: what a method gains
there, it does not gain by reaching across domains. Two classifiers on features of layer 6, of @off (B6A@without) and of
@dann (B6A@with; the letters are turned round: the target of both is B), are there for the features that are drawn.

Cost: 12 networks, about a minute on two cores (92 s of processor time); packing takes half a minute.

Expect, of one seed: source only 23 %, target trained 46; the last layer copied and the rest trained on B's labels 45,
five layers 36. DANN 25 to 26, and no more than without strength (26): what it gains over source only is longer training
on A. The domain classifier tells the domains apart by 65 to 69 % only, with and without.
"""

from dataclasses import replace

from transferability.adversarial import Adversarial
from transferability.networks import small_caffenet
from transferability.readout import Readout
from transferability.recipe import Recipe
from transferability.splits import domains
from transferability.study import Network, Study, grid
from transferability.treatment import parse

SPLIT = "painted-drawn"
architecture = small_caffenet(crop=28, width=0.25, dropout=0.0)
recipe = Recipe("demo", steps=480, batch=64, rate=0.04, warmup=50, crop=28, validate_every=120)
dann = Adversarial(**{**vars(recipe), "name": "dann", "rate": 0.01, "steps": 240, "validate_every": 60})
off = replace(dann, name="off", strength=0.0)
features = Readout("features", crop=28, classifier="nearest", trained_on="source")

networks = [
    *grid(recipe, architecture.depth, [SPLIT], kinds=("base",)),
    *grid(recipe, architecture.depth, [SPLIT], targets="B", kinds=("A8B",)),
    *grid(recipe, architecture.depth, [SPLIT], targets="B", kinds=("AtnB",), cuts=(1, 3, 5)),
    *(
        replace(network, variant=how.name)
        for how, cuts in ((dann, (2, 4, 6)), (off, (6,)))
        for network in grid(how, architecture.depth, [SPLIT], targets="B", kinds=("AnB+",), cuts=cuts)
    ),
    Network(SPLIT, parse("B6A"), replace(features, of="A6B+@off"), variant="without"),
    Network(SPLIT, parse("B6A"), replace(features, of="A6B+@dann"), variant="with"),
]
study = Study("demo_domains", "demo-domains", architecture, tuple(networks), {SPLIT: domains("painted", "drawn")})
