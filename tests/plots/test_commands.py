"""The figures' command line: what is saved, in which form, whatever surrounds it; nothing that is missing goes
unsaid; none of it needs torch."""

import errno
import os
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from invented import curves_of, study
from PIL import Image
from project import PROJECT
from tiny import write_table
from waiting import LIMIT

from transferability.files import Refused
from transferability.plots import all as every
from transferability.plots import command, figure2, figure3, style, table1, tables
from transferability.results import statistics as results


def environment(**changes: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"} | changes


def script(name: str, *arguments: object, cwd: Path, **changes: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(PROJECT / "plots" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, cwd=cwd, env=environment(**changes), timeout=LIMIT, check=False)


@pytest.fixture
def results_csv(tmp_path: Path) -> Path:
    write_table(study(splits=("random-0",)), tmp_path / "results.csv")
    return tmp_path / "results.csv"


# ------------------------------------------------------------------------------------------ what is said


def test_missing_diverged_and_other_networks_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = study("demo", splits=("random-0",))
    table.loc[table.network == "A3B", "diverged_at"] = 17
    table = table[~table.network.isin(("A2B+", "A3B+", "A4B+", "B6B"))]
    write_table(table, tmp_path / "results.csv")
    figure2.main([str(tmp_path / "results.csv"), "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "diverged, so not drawn: random-0/A3B/seed-0 (step 17)" in printed
    assert "figure2: in the table, but not in this figure: RnB (14)" in printed
    missing = printed.split("not in the table, so not drawn: ")[1].splitlines()[0].split(", ")
    assert missing == ["random-0/B6B/seed-0", "random-0/A3B/seed-0", "random-0/A{2..4}B+/seed-0"]
    for name in ("figure2.png", "figure2.pdf"):
        assert str(tmp_path / name) in printed and (tmp_path / name).stat().st_size > 1000
    assert not (tmp_path / "figure2-manmade-natural.png").exists()


def test_a_table_without_bases_is_drawn_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = study(splits=("random-0",))
    table = table[table.kind != "base"]
    write_table(table, tmp_path / "results.csv")
    figure2.main([str(tmp_path / "results.csv"), "--out", str(tmp_path)])
    assert "random-0/baseA/seed-0, random-0/baseB/seed-0" in capsys.readouterr().out
    assert figure2.annotations(results.networks(table)) == []


def test_a_table_without_networks_is_one_line(tmp_path: Path) -> None:
    write_table(study()[:0], tmp_path / "results.csv")
    for main in (every.main, figure2.main, figure3.main, table1.main):
        with pytest.raises(Refused, match=r"results\.csv has no network that can be drawn"):
            main([str(tmp_path / "results.csv")])


def test_captions_say_what_the_demo_is() -> None:
    page = style.Page(caption="Mine.")
    for name in ("demo_seeds", "own"):
        table = tables.table_of(study(name, splits=("random-0", "random-1", "random-2")))
        for drawing in every.draw(table, page):
            if isinstance(drawing, tables.NotDrawn) or drawing.plot in ("figure1", "filters"):
                continue
            caption = " ".join(drawing.figure._supxlabel.get_text().split())
            assert "Mine." in caption
            assert ("no evidence" in caption) == (name == "demo_seeds"), drawing.name
            assert ("no evidence" in drawing.latex) == bool(drawing.latex and name == "demo_seeds")


def test_what_is_not_drawn_has_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(study(splits=("random-0",), validations=20), tmp_path / "results.csv")
    out = ["--out", str(tmp_path / "figures")]
    for plot, arguments, reason in (
        (figure2, ["--split", "random-9"], "no split random-9"),
        (figure2, ["--format", "tex"], "only table1 can be written as LaTeX"),
        (table1, ["--style", "nowhere.mplstyle"], "nowhere.mplstyle cannot be used"),
    ):
        with pytest.raises(Refused, match=reason):
            plot.main([str(tmp_path / "results.csv"), *arguments, *out])
    assert not (tmp_path / "figures").exists()
    every.main([str(tmp_path / "results.csv"), *out, "--format", "png"])
    printed = capsys.readouterr().out
    assert "preserved: not drawn: the table has no network with preserved layers (A3Bp1)" in printed
    for name in ("training_curves", "three_benefits", "filters"):
        assert f"{name}: not drawn: it needs one's own runs: python plots/{name}.py" in printed


def test_without_a_table_the_papers_networks_are_drawn(tmp_path: Path) -> None:
    figure2.main(["--out", str(tmp_path / "bare")])
    figure2.main(["--paper", "--out", str(tmp_path / "paper")])
    for name in ("figure2.png", "figure2-manmade-natural.png"):
        assert (tmp_path / "bare" / name).read_bytes() == (tmp_path / "paper" / name).read_bytes()


def test_an_overlay_says_which_accuracies_it_compares() -> None:
    few, many = (tables.table_of(study(validations=count), paper=True) for count in (20, 200))
    for table, note in ((few, "those of this study final ones (fewer than 100 validations)"), (many, "Accuracies are")):
        drawings = [*figure2.draw(table), *figure3.draw(table), *table1.draw(table)]
        assert len(drawings) == 4
        for drawing in drawings:
            assert isinstance(drawing, tables.Drawn)
            caption = " ".join(drawing.figure._supxlabel.get_text().split())
            assert note in caption and "the mean of the ten highest validations" in caption
    assert (few.rows.accuracy == few.rows.val_top1).all() and (many.rows.accuracy == many.rows.val_top1_best10).all()


# ------------------------------------------------------------------------------------------ what is saved


def test_both_splits_make_two_figures_and_fonts_are_embedded(tmp_path: Path) -> None:
    write_table(study(), tmp_path / "results.csv")
    figure2.main([str(tmp_path / "results.csv"), "--out", str(tmp_path)])
    for name in ("figure2", "figure2-manmade-natural"):
        pdf = (tmp_path / f"{name}.pdf").read_bytes()
        assert b"/Type3" not in pdf and b"/FontFile2" in pdf
        assert (tmp_path / f"{name}.png").exists()


def test_formats_and_width(results_csv: Path, tmp_path: Path) -> None:
    arguments = ["--width", "3.25", "--format", "svg", "--format", "png", "--out"]
    figure2.main([str(results_csv), *arguments, str(tmp_path / "a")])
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"figure2.svg", "figure2.png"}
    assert Image.open(tmp_path / "a" / "figure2.png").width == round(3.25 * 220)
    assert float(xml.etree.ElementTree.parse(tmp_path / "a" / "figure2.svg").getroot().attrib["width"][:-2]) == 234
    figure2.main([str(results_csv), *arguments, str(tmp_path / "b")])
    for name in ("figure2.svg", "figure2.png"):  # no date, no random names
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    for width in ("0", "wide", "nan"):
        with pytest.raises(SystemExit):
            figure2.main([str(results_csv), "--width", width])


def test_table1_as_latex(tmp_path: Path) -> None:
    write_table(study(splits=("random-0", "random-1", "random-2")), tmp_path / "results.csv")
    table1.main([str(tmp_path / "results.csv"), "--paper", "--format", "tex", "--out", str(tmp_path)])
    text = (tmp_path / "table1.tex").read_text()
    rows = [line for line in text.splitlines() if line[0].isdigit()]
    assert [row.split(" & ")[0] for row in rows] == ["1--7", "3--7", "5--7"] * 2
    assert all(row.count("&") == 5 and row.endswith(r"\\") for row in rows)
    assert "1.5 [+" in rows[0] and "of 42 (3)" in rows[0] and rows[3].startswith("1--7 & 1.6 of 10 (2) & 1.4")
    assert text.isascii() and text.count("{tabular}") == 2
    table1.main([str(tmp_path / "results.csv"), "--format", "tex", "--no-counts", "--out", str(tmp_path)])
    assert "of 42" not in (tmp_path / "table1.tex").read_text()


def test_no_counts_leaves_out_every_number_of_networks() -> None:
    table = tables.table_of(study(splits=("random-0", "random-1", "random-2")))
    for drawing in every.draw(table, style.Page(counts=False)):
        if isinstance(drawing, tables.Drawn):
            texts = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
            caption = drawing.figure._supxlabel
            texts += [] if caption is None else [caption.get_text()]
            assert not [text for text in texts if "(3)" in text or "networks (units)" in text], drawing.name


def test_a_style_file_changes_the_figure_and_one_that_is_none_is_refused(
    results_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, styled = tmp_path / "plain", tmp_path / "styled"
    (tmp_path / "mine.mplstyle").write_text("axes.facecolor: eeffee\nsavefig.dpi: 100\n")
    figure2.main([str(results_csv), "--out", str(plain)])
    figure2.main([str(results_csv), "--out", str(styled), "--style", str(tmp_path / "mine.mplstyle")])
    image = Image.open(styled / "figure2.png").convert("RGB")
    assert image.width == 550 and (0xEE, 0xFF, 0xEE) in {colour for _, colour in image.getcolors(1 << 24)}
    for content in (b"font.size: large\nfont.size x", b"no.such.key: 1", b"\xff\xfe", b"lines.linewidth: thick"):
        (tmp_path / "bad.mplstyle").write_bytes(content)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            command.run(lambda: figure2.main([str(results_csv), "--style", str(tmp_path / "bad.mplstyle")]))
        printed = capsys.readouterr().err
        assert end.value.code == 2 and printed.count("\n") == 1 and "bad.mplstyle cannot be used" in printed


def test_settings_are_put_back() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with style.settings():
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    assert dict(matplotlib.rcParams) == before


# ------------------------------------------------------------------------------------------ whatever surrounds it


def test_errors_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = script("figure2", tmp_path / "nothing.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1 and b"nothing.csv does not exist" in done.stderr


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a results.csv and the Figure 2 of it."""
    folder = tmp_path_factory.mktemp("expected")
    write_table(study(splits=("random-0",)), folder / "results.csv")
    figure2.main([str(folder / "results.csv"), "--out", str(folder)])
    return folder


@pytest.mark.parametrize("surroundings", ["notebook, TeX, no fonts", "no backend, unreadable", "bad values, no folder"])
def test_the_same_figure_whatever_surrounds_matplotlib(surroundings: str, expected: Path, tmp_path: Path) -> None:
    here, config = tmp_path / "here", tmp_path / "config"
    here.mkdir()
    config.mkdir()
    changes = {"MPLCONFIGDIR": str(config)}
    if surroundings == "notebook, TeX, no fonts":
        changes["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        (config / "matplotlibrc").write_text("text.usetex: True\nfont.size: 20\naxes.grid: True\nsavefig.dpi: 50\n")
        changes["PATH"] = str(here)  # no fc-list
    elif surroundings == "no backend, unreadable":
        changes["MPLBACKEND"] = "paper"
        (here / "matplotlibrc").write_bytes(b"font.size: \xff\xfe")
    else:
        (here / "matplotlibrc").write_text("font.size: large\nbackend: nothing\nfont.family: No Such Font\n")
        (tmp_path / "file").touch()
        changes["MPLCONFIGDIR"] = str(tmp_path / "file")
    done = script("figure2", expected / "results.csv", "--out", tmp_path / "drawn", cwd=here, **changes)
    assert done.returncode == 0, done.stderr
    for name in ("figure2.png", "figure2.pdf"):
        assert (tmp_path / "drawn" / name).read_bytes() == (expected / name).read_bytes()


def test_any_encoding_of_the_terminal_will_do(results_csv: Path, tmp_path: Path) -> None:
    done = script("table1", results_csv, "--out", tmp_path / "Bänder", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"AnB+ - BnB+" in done.stdout  # a minus stays one


def test_a_reader_that_has_seen_enough_is_no_error(results_csv: Path, tmp_path: Path) -> None:
    shell = f"{sys.executable} -u {PROJECT / 'plots' / 'figure2.py'} {results_csv} --out {tmp_path} | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell], capture_output=True, cwd=tmp_path, env=environment(), timeout=LIMIT
    )
    assert done.returncode == 0 and done.stderr == b""


def test_a_clones_script_runs_the_clones_package(results_csv: Path, tmp_path: Path) -> None:
    without = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    path = PROJECT / "plots" / "figure2.py"
    arguments = [sys.executable, str(path), str(results_csv), "--out", str(tmp_path / "figures")]
    subprocess.run(arguments, cwd=tmp_path, env=without, timeout=LIMIT, check=True, capture_output=True)
    assert (tmp_path / "figures" / "figure2.png").exists()


def test_a_figure_for_which_there_is_no_room_is_one_line_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(study(), tmp_path / "results.csv")
    arguments = [str(tmp_path / "results.csv"), "--out", str(tmp_path / "figures")]
    figure2.main(arguments)
    earlier = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}

    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        command.run(lambda: figure2.main([*arguments, "--caption", "another"]))
    printed = capsys.readouterr().err
    assert end.value.code == 2 and printed.count("\n") == 1
    assert "figure2.png: No space left on device; make room" in printed
    assert {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()} == earlier


WITHOUT_TORCH = """
import runpy, sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "lightning", "torchmetrics", "wandb"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Forbidden())
sys.path.insert(0, "plots")
curves, weights, layers, out = sys.argv[1:]
arguments = {"all": [], "training_curves": [curves], "three_benefits": [curves]}
arguments |= {"filters": [weights], "layer_times": [layers]}
for path in sys.stdin.read().split():
    name = path.split("/")[-1][:-3]
    sys.argv = [path, *arguments[name], "--format", "png", "--out", out] if name in arguments else [path, "--help"]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        assert not end.code, (name, end)
    loaded = [module for module in sys.modules if module.split(".")[0] in ("torch", "lightning")]
    assert not loaded, (name, loaded)
print("all ran")
"""


def test_every_plot_runs_where_torch_is_not_installed(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    table = study("own")
    write_table(table, tmp_path / "results.csv")  # training_curves finds it beside the curves
    curves_of(table).to_csv(tmp_path / "curves.csv", index=False)
    weights = tmp_path / "weights.safetensors"
    save_file({"conv1.weight": np.random.default_rng(0).normal(size=(8, 3, 5, 5)).astype(np.float32)}, weights)
    plots = [f"plots/{path.name}" for path in sorted((PROJECT / "plots").glob("[a-z]*.py"))]
    assert len(plots) == 30
    layers = tmp_path / "layers.csv"
    layers.write_text("network,crop,n,layer,kind,milliseconds,batch,threads\nmine,32,1,conv1,convolutional,1.5,8,1\n")
    arguments = [sys.executable, "-c", WITHOUT_TORCH, tmp_path / "curves.csv", weights, layers, tmp_path / "figures"]
    done = subprocess.run(
        arguments, input="\n".join(plots), capture_output=True, text=True, cwd=PROJECT, env=environment(), timeout=LIMIT
    )
    assert done.returncode == 0 and done.stdout.endswith("all ran\n"), done.stderr
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    # The paper has no networks for these.
    own = {"aligned_layers", "backbones", "confusion", "domains", "multitask", "regimes", "zero_shot"}
    own |= {"readout_against_retraining", "readout_by_layer", "few_pictures", "augmentation"}
    own |= {"average_precision_by_layer", "embedding", "neighbours", "pretext", "translated"}
    names = {Path(path).stem for path in plots} - {"all", *own} | {
        "figure2-manmade-natural",
        "training_curves-manmade-natural",
        "three_benefits-manmade-natural",
    }
    assert figures == {f"{name}.png" for name in names}
    assert "paired: not drawn: man-made / natural" in done.stdout
