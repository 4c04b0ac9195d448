"""The demo study with seeds 1 to 3: untouched by any tuning, with three units for each interval.

    transferability run experiments/demo_seeds.py

Cost: 444 networks, about 15 minutes on two cores. Expect what the README reports, within the intervals that it gives.
"""

from demo import architecture, demo

from transferability.study import Study

study = Study(name="demo_seeds", data="demo", architecture=architecture, networks=demo(seeds=(1, 2, 3)))
