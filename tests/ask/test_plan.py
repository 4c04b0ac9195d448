"""What `ask` tries within the minutes."""

from tiny import tiny_study

from transferability.ask import plan

NAMES = ("baseA", "A1B+", "A2B+", "A2B+0.1")
STUDY = tiny_study([f"random-0/{name}/seed-{seed}" for name in NAMES for seed in range(4)])


def size(seeds: int, workers: int) -> int:
    networks = [network for network in STUDY.networks if network.stage and network.seed < seeds]
    assert len(networks) == 3 * seeds
    return plan.training_size(STUDY, networks, 10, workers)


def test_fleets_are_divided_where_a_worker_would_be_idle() -> None:
    assert size(seeds=2, workers=2) == size(seeds=4, workers=2) == size(seeds=3, workers=1) == 3
    assert size(seeds=3, workers=2) < 3 and size(seeds=1, workers=2) == 2
    assert size(seeds=1, workers=4) == 1


def test_classifiers_see_fewer_numbers_where_time_is_short() -> None:
    speed = plan.Speed(operations=2.5e10, workers=2)
    few, many = (plan.numbers_for(19, pictures, classes, 90, speed) for pictures, classes in ((765, 17), (3100, 101)))
    assert few == 4096 and many == 512
    assert plan.numbers_for(19, 3100, 101, 360, speed) == 2048
    assert plan.numbers_for(19, 10**7, 1000, 90, speed) == plan.NUMBERS[-1]
