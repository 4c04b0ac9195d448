"""New fully connected layers on a network: layers of the chain like any other."""

import pickle
from pathlib import Path

import pytest
import torch
from comparing import outcome
from residual import residual
from tiny import RECIPE, full_name
from torch import nn
from trained import train

from transferability.data.packed import PackedImages
from transferability.files import Refused
from transferability.networks.chain import Top
from transferability.networks.cut import chain, checked_layers, drawn_layers, whole
from transferability.study import Study, network

torch.set_num_threads(1)

TOP = Top((20, 10), 0.3, after="2")


def by_hand(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The trunk of `residual`, averaged, then two hidden layers and the output."""
    trunk = residual(5)
    del trunk[3]  # type: ignore[operator]
    trunk.load_state_dict({name: value for name, value in state.items() if name[0].isdigit()})
    x = trunk.eval()(x).mean((2, 3))
    for name in ("top1", "top2"):
        x = torch.relu(nn.functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"]))
    return nn.functional.linear(x, state["output.weight"], state["output.bias"])


def test_it_computes_what_it_says() -> None:
    made = chain(residual, 14, top=TOP)
    assert made.layer_names[-3:] == ("top1", "top2", "output") and made.depth == 6
    assert made.layer_names[:3] == chain(residual, 14).layer_names[:3]
    checked_layers(made)
    x, network_ = torch.randn(4, 3, 14, 14, generator=torch.Generator().manual_seed(0)), whole(made, 5, "a").eval()
    state = network_.state_dict()
    assert {name for name in state if not name[0].isdigit()} == {
        f"{name}.{kind}" for name in ("top1", "top2", "output") for kind in ("weight", "bias")
    }
    with torch.no_grad():
        torch.testing.assert_close(network_(x), by_hand(state, x))
        y = x
        for layer in drawn_layers(made, 5, "a"):
            y = layer.eval()(y)
        assert torch.equal(y, network_(x))
    below = {name: value for name, value in state.items() if name[0].isdigit()}
    plain = whole(chain(residual, 14), 5, "a").state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in below.items())


def test_it_stands_on_what_is_before_the_classifier_and_on_tokens() -> None:
    made = chain("torchvision:squeezenet1_1", 64, top=Top(()))
    assert made.layer_names[-2:] == ("features.12", "output")
    made = chain("timm:vit_tiny_patch16_224", 32, top=Top((8,), after="blocks.1"), depth=3)
    assert made.layer_names[-2:] == ("top1", "output") and "blocks.2" not in made.layer_names


def test_it_is_another_architecture_in_the_record_and_in_other_processes() -> None:
    plain, made = chain(residual, 14), chain(residual, 14, top=TOP)
    assert "top" not in plain.record and made.record["top"] == [[20, 10], 0.3, "2"]
    assert pickle.loads(pickle.dumps(made)) == made and made != plain


@pytest.mark.parametrize(
    ("top", "reason"),
    [
        ({"after": "5"}, "cannot be cut after '5'"),
        ({"hidden": (0,)}, r"hidden is \(0,\); write the outputs"),
        ({"dropout": 1.0}, "write a share from 0 to below 1"),
    ],
)
def test_what_cannot_be_built_is_refused(top: dict[str, object], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        chain(residual, 14, top=Top(**top))  # type: ignore[arg-type]


def test_a_list_of_parts_takes_its_top_as_parts() -> None:
    def parts(classes: int) -> list[tuple[str, nn.Module]]:
        return [("stem", nn.Conv2d(3, 4, 3)), ("end", nn.Sequential(nn.Flatten(), nn.Linear(576, classes)))]

    with pytest.raises(Refused, match="is a list of parts: put its new top there"):
        chain(parts, 14, top=TOP)


def test_a_fleet_is_its_networks_alone(roots: Path, packed: PackedImages) -> None:
    """Its dropout is addressed like any other; a cut may lie within the top."""
    names = ["baseA", "A3B", "A4B", "A5B+", "B4B"]
    made = chain(residual, 14, top=TOP)
    study = Study("top", "tiny", made, tuple(network(full_name(name), RECIPE) for name in [*names, "baseB"]))
    train(study)
    (roots / "runs").rename(roots / "together")
    train(study, groups=[["baseA"], ["A4B"], ["A5B+"]])
    for name in ("A4B", "A5B+"):
        assert outcome("top", name) == outcome("top", name, roots / "together")
    base, copied = outcome("top", "baseA").weights, outcome("top", "A4B").weights
    assert torch.equal(base["top1.weight"], copied["top1.weight"])
    assert not torch.equal(base["top2.weight"], copied["top2.weight"])
