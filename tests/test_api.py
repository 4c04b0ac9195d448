"""What notebooks import: the examples of docs/ and the notebook are run on a small study, and checked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from project import HELPERS, PROJECT
from test_docs import FENCED
from tiny import RECIPE, TINY, write_tiny
from trained import PLAIN, train
from waiting import LIMIT

import transferability as tr
from transferability.study import load_study

# Figures of networks that the study does not have.
WITHOUT = (
    "preserved",
    "reduced_data",
    "readout_against_retraining",
    "domains",
    "regimes",
    "pretext",
)

EXPERIMENT = f"""import sys
sys.path.insert(0, {str(HELPERS)!r})
from tiny import RECIPE, TINY
from transferability.readout import Readout
from transferability.study import Study, grid, network
svm = network("random-0/A2B@svm", Readout("svm", RECIPE.crop))
study = Study("demo", "tiny", TINY, (*grid(RECIPE, TINY.depth, ["random-0"]), svm))
"""


@pytest.fixture(scope="module")
def place(module_roots: Path) -> Path:
    """A folder with experiments/demo.py, a small study that is trained in runs/, and a photo."""
    write_tiny(module_roots / "data" / "tiny")
    (module_roots / "experiments").mkdir()
    (module_roots / "examples").mkdir()
    experiment = module_roots / "experiments" / "demo.py"
    experiment.write_text(EXPERIMENT)
    train(load_study(experiment), PLAIN)
    photo = np.random.default_rng(0).integers(0, 256, (50, 40, 3)).astype(np.uint8)
    Image.fromarray(photo).save(module_roots / "photo.jpg")
    tr.open_study(experiment).results()
    return module_roots


def test_the_examples_of_the_page_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    page = (PROJECT / "docs" / "api.md").read_text()
    examples = [block for language, block in FENCED.findall(page) if language == "python"]
    assert len(examples) >= 7
    names: dict[str, Any] = {}
    for example in examples:
        exec(example, names)
    network = names["network"]
    assert network.accuracy() == network.result.val_top1
    assert isinstance(names["curves"], Figure) and isinstance(names["paper"], Figure)
    # The recipe in words prepares an image as the package does, and the original gives the same scores.
    assert np.allclose(names["x"], network.preprocessing("photo.jpg").numpy(), atol=1e-5)
    assert names["classes"] == list(network.classes)
    assert torch.equal(names["original"](names["inputs"]), network(names["inputs"]))
    assert names["readout"].name == "random-0/A2B@svm/seed-0"


def test_the_notebook_runs(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place / "examples")
    notebook = json.loads((PROJECT / "examples" / "study.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 10 and all(not cell.get("outputs") for cell in notebook["cells"])
    names: dict[str, Any] = {}
    for cell in cells:
        exec(cell, names)
    printed = capsys.readouterr().out
    assert "cannot be told from 1 unit" in printed and "n = 2, conv2: (" in printed
    assert (place / "runs" / "base-a.safetensors").is_file()


def test_importing_the_package_loads_nothing() -> None:
    code = (
        "import sys, transferability as tr; heavy = {'pandas', 'torch', 'matplotlib', 'scipy'};"
        "assert not heavy & sys.modules.keys(); tr.figure('figure2', tr.paper_results());"
        "assert 'torch' not in sys.modules; assert not hasattr(tr, 'nothing'); from transferability import study"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT)


def test_without_torch_the_extra_is_named() -> None:
    code = (
        "import sys, transferability as tr; sys.modules['torch'] = None\n"
        "try: tr.load_network('nowhere.py', 'x')\nexcept tr.Refused as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT, capture_output=True, text=True)
    assert done.stdout.startswith("load_network needs torch: pip install '.[train]'")


def test_every_name_is_there() -> None:
    assert all(getattr(tr, name) is not None for name in tr.__all__)


def test_tables(place: Path) -> None:
    study = tr.open_study(place / "experiments" / "demo.py", runs=place / "runs", data=place / "data")
    results = study.results()
    assert len(results) == len(study.study.networks) == 2 * (1 + 4 * (TINY.depth - 1)) + 1
    means = tr.means(results)
    row = means[(means.treatment == "AnB") & (means.n == 2)].iloc[0]
    accuracy = {row.network: row.val_top1 for row in results.itertuples()}
    gaps = [accuracy["A2B"] - accuracy["baseB"], accuracy["B2A"] - accuracy["baseA"]]
    assert row.value == pytest.approx(sum(gaps) / 2) and (row.networks, row.units) == (2, 1) and np.isnan(row.low)
    answers = tr.answers(results)
    assert set(answers.treatment) >= {"AnB", "AnB+", "BnB", "BnB+"} and answers.up_to.isna().all()
    paper = tr.answers(tr.paper_results()).set_index(["group", "treatment", "reference"])
    assert paper.loc[("random", "AnB", "base"), "up_to"] == 3
    assert paper.loc[("random", "AnB", "base"), "beyond"] == (4, 5, 6, 7)
    status = study.status()
    assert list(status.columns) == ["network", "state", "detail", "weights"] and status.weights.all()
    assert tr.load_network(place / "experiments" / "demo.py", "random-0/A1B/seed-0").name == "random-0/A1B/seed-0"


def test_figures(place: Path, tmp_path: Path) -> None:
    study = tr.open_study(place / "experiments" / "demo.py")
    results = study.results()
    for name in tr.FIGURES:
        if name in WITHOUT:  # the study has no such networks
            with pytest.raises(tr.Refused, match=name):
                tr.figure(name, results)
            continue
        assert isinstance(tr.figure(name, study), Figure)
    shown: Any = tr.figure("table1", results)
    assert shown._repr_png_().startswith(b"\x89PNG")
    style = tmp_path / "large.mplstyle"
    style.write_text("font.size: 20\n")
    figure = tr.figure("figure2", results, width=3.25, style=style, caption="mine")
    assert figure.get_figwidth() == 3.25
    assert len(tr.figures("figure2", tr.paper_results(), split="random")) == 1
    for wrong, reason in (
        (lambda: tr.figure("figure9"), "no figure 'figure9'; write one of figure1"),
        (lambda: tr.figure("figure2", results, wide=3), "it takes width, counts, caption, style and split"),
        (lambda: tr.figure("filters", results), "give what open_study returns"),
        (lambda: tr.figure("figure2", results, split="random-9"), "the table has no split random-9"),
    ):
        with pytest.raises(tr.Refused, match=reason):
            wrong()


def test_crop_of_the_recipe_is_what_the_network_sees(place: Path) -> None:
    network = tr.load_network(place / "experiments" / "demo.py", "random-0/baseB")
    assert network.preprocessing(place / "photo.jpg").shape == (1, 3, RECIPE.crop, RECIPE.crop)
