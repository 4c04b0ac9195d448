"""Networks on translated images: the two phases, fleets, kills, pictures, and what is not seen."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import outcome
from disturbed import killed_at
from domains import SPLIT, domain_study, named, scramble_sketches, write_domains
from test_train import train_again_in_processes
from tiny import RECIPE, TINY
from trained import PLAIN, train

from transferability.files import Refused
from transferability.plots import style, translated
from transferability.recipe import Recipe
from transferability.runs.paths import data_root, study_folder
from transferability.study import Study
from transferability.trained.network import load_network
from transferability.training.cost import operations
from transferability.training.trainer import quiet
from transferability.training.translation import Translators, as_input, as_pixels
from transferability.translated import Translated

torch.set_num_threads(1)
quiet()

FIRST = 7  # steps of the translators, of 12; validations are after 6 and 12
FIELDS = {**asdict(RECIPE), "rate": 0.02, "translation": FIRST / 12, "translator_rate": 2e-3, "width": 2, "blocks": 1}
METHODS: dict[str, Recipe] = {
    "translated": Translated(**FIELDS),
    "twin": Translated(**FIELDS),
    "off": Translated(**{**FIELDS, "translation": 0.0}),
}
NAMES = ["A0B+@translated", "A0B+@twin", "A0B+@off"]
OFTEN = replace(PLAIN, checkpoint_minutes=0.0)


def translated_study(*names: str) -> Study:
    return domain_study(list(names), RECIPE, methods=METHODS)


@pytest.fixture(scope="module")
def shared(module_roots: Path) -> Path:
    """A folder in which all are trained, those of one recipe in one fleet."""
    write_domains(module_roots / "data" / "tiny")
    train(translated_study(*NAMES))
    return module_roots


def test_the_loss_is_the_papers_and_critics_and_translators_are_apart() -> None:
    """Equation 3 with least squares, and each gradient from its own terms alone, by autograd on them one by one."""
    translators = Translators(replace(METHODS["translated"], cycle=3.0, identity=0.5), "owner")  # type: ignore[arg-type]
    draw = np.random.default_rng(0)
    a, b = (torch.from_numpy(draw.uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)) for _ in range(2))
    translators.loss(a, b).backward()
    there, back, critic_a, critic_b = translators.there, translators.back, translators.critic_a, translators.critic_b
    found = {name: parameter.grad.clone() for name, parameter in translators.named_parameters()}  # type: ignore[union-attr]

    of_critics = ((critic_b(b) - 1) ** 2).mean() / 2 + (critic_b(there(a).detach()) ** 2).mean() / 2
    of_critics = of_critics + ((critic_a(a) - 1) ** 2).mean() / 2 + (critic_a(back(b).detach()) ** 2).mean() / 2
    misled = ((critic_b(there(a)) - 1) ** 2).mean() + ((critic_a(back(b)) - 1) ** 2).mean()
    cycle = (back(there(a)) - a).abs().mean() + (there(back(b)) - b).abs().mean()
    identity = (there(b) - b).abs().mean() + (back(a) - a).abs().mean()
    for parts, loss in (
        ((critic_a, critic_b), of_critics),
        ((there, back), misled + 3 * (cycle + 0.5 * identity)),
    ):
        translators.zero_grad()
        loss.backward()
        for part in parts:
            for name, parameter in translators.named_parameters():
                if any(parameter is own for own in part.parameters()):
                    assert torch.allclose(found[name], parameter.grad, rtol=1e-3, atol=1e-5), name  # type: ignore[arg-type]


def test_pixels_survive_the_way_there_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(as_pixels(as_input(pixels)), pixels)


def test_the_rate_of_each_phase_begins_at_its_own_start() -> None:
    recipe = replace(METHODS["translated"], steps=100, translation=0.4, schedule="inverse", rate=0.01)
    assert isinstance(recipe, Translated) and recipe.translator_steps == 40
    assert [recipe.rate_at(step) for step in (0, 20, 30, 39)] == pytest.approx([2e-3, 2e-3, 1e-3, 1e-4])
    assert [recipe.rate_at(step) for step in (40, 70)] == pytest.approx([0.01, 0.01 / 6**0.75])


def test_the_first_phase_is_the_translators_and_the_second_the_networks(shared: Path) -> None:
    found = outcome("tiny", named("A0B+@translated"))
    assert (found.result["n"], found.result["kind"], found.result["steps"]) == (0, "transfer", 12)
    first, last = zip(*(found.series[key] for key in ("train_loss", "train_top1")), strict=True)
    assert first[1] is None and first[0] > 10  # of translators: the cycle counts ten times
    assert last[1] is not None and last[0] < 3
    # Until the second phase nothing is learned: what is judged is what was drawn.
    assert found.series["val_loss"][0] == pytest.approx(np.log(4), rel=0.05)
    # The control is a network on images as they are: all of its steps are the second phase.
    off = outcome("tiny", named("A0B+@off"))
    assert off.series["train_top1"][0] is not None
    # Two networks of one recipe share their translators, and nothing else.
    twin = outcome("tiny", named("A0B+@twin"))
    assert twin.series["train_loss"][0] == first[0] and twin.file != found.file


@pytest.mark.parametrize(("name", "step"), [("A0B+@translated", 3), ("A0B+@twin", 9), ("A0B+@off", 9)])
def test_alone_and_killed_in_either_phase(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: int
) -> None:
    together = outcome("tiny", named(name))
    shown = study_folder("tiny").pictures(named(name)).read_bytes()
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    with killed_at(step):
        train(translated_study(name), OFTEN)
    train(translated_study(name))
    assert outcome("tiny", named(name)) == together
    assert study_folder("tiny").pictures(named(name)).read_bytes() == shown


def test_it_is_judged_on_the_targets_images_as_they_are(shared: Path) -> None:
    network = load_network(translated_study(*NAMES), named("A0B+@translated"), study_folder("tiny"), data_root())
    assert network.accuracy() == outcome("tiny", named("A0B+@translated")).result["val_top1"]


def test_labels_of_the_target_are_not_seen(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training sketches dealt to the classes at random, in another order: equal bits."""
    scramble_sketches(tmp_path, monkeypatch)
    train(translated_study(*NAMES))
    for name in NAMES:
        scrambled, seen = outcome("tiny", named(name)), outcome("tiny", named(name), shared / "runs")
        assert scrambled.file == seen.file and scrambled.series == seen.series, name
        assert scrambled.result["record"] != seen.result["record"]  # it is another packed set


@pytest.mark.torture
def test_several_processes_agree_with_one(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both phases: all of them wait for the gradients of translators and networks.

    Less closely than others do: what is rounded otherwise in a translator is, now and then, a pixel one grey level off.
    """
    made = f"test_translated:translated_study({NAMES[0]!r})"
    train_again_in_processes(shared, tmp_path, monkeypatch, made, [named(NAMES[0])])
    one, several = outcome("tiny", named(NAMES[0]), shared / "runs"), outcome("tiny", named(NAMES[0]))
    for key in ("val_images", "val_loss", "train_loss"):
        assert several.series[key] == pytest.approx(one.series[key], rel=1e-3), key
    for key, value in one.weights.items():
        assert float((several.weights[key] - value).norm()) <= 1e-2 * float(value.norm()), key


def test_pictures_are_what_the_network_was_trained_on(shared: Path) -> None:
    with style.settings():
        (drawn,) = translated.draw(study_folder("tiny"), f"{SPLIT}/A0B+@translated")
    shown = translated.read_pictures(study_folder("tiny"), f"{SPLIT}/A0B+@translated/seed-0")
    assert {name: images.shape for name, images in shown.items()} == {
        **dict.fromkeys(("before", "after", "back"), (4, 14, 14, 3)),
        "target": (10, 14, 14, 3),
    }
    assert (shown["before"] != shown["after"]).any()
    rows = [axes for axes in drawn.figure.axes if axes.images]
    assert len(rows) == 3 * 4 + 10
    assert np.array_equal(rows[4].images[0].get_array(), shown["after"][0])
    same = translated.read_pictures(study_folder("tiny"), named("A0B+@off"))
    assert np.array_equal(same["before"], same["after"])
    with pytest.raises(Refused, match=r"pictures.npz does not exist: .*A8B.* translates nothing, or is not trained"):
        translated.read_pictures(study_folder("tiny"), named("A8B"))


def test_what_has_no_meaning_is_refused() -> None:
    for short, why in {
        "A2B+@off": "makes the images of two domains alike, and copies nothing; write A0B+ or B0A+",
        "A0B@off": "makes the images of two domains alike",
        "baseB@off": "makes the images of two domains alike",
        "A0B+": "copies nothing: only a readout has n = 0",
    }.items():
        with pytest.raises(Refused, match=why.replace("+", r"\+")):
            translated_study("baseA", "baseB", short)
    for changes, why in {
        ("translation", 1.0): "translation is 1.0; write a share below 1",
        ("width", 0): "width is 0",
        ("cycle", -1.0): "cycle is -1.0",
        ("crop", 13): "write an even crop of at least 8",
        ("crop", 6): "write an even crop of at least 8",
        ("stop", "inner"): "for networks that see their target's labels",
    }.items():
        with pytest.raises(Refused, match=why):
            replace(METHODS["off"], **{changes[0]: changes[1]})  # type: ignore[arg-type]


def test_what_it_costs_is_both_phases() -> None:
    study = translated_study(*NAMES)
    (_, off), (_, both) = (operations(study, study.by_name[named(name)], 4) for name in ("A0B+@off", "A0B+@twin"))
    recipe = METHODS["twin"]
    assert isinstance(recipe, Translated)
    assert both == pytest.approx(
        FIRST / 12 * 12 * recipe.translator_operations + (1 - FIRST / 12) * (off + recipe.translator_operations)
    )
    assert TINY.crop == recipe.crop
