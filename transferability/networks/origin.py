"""Where networks come from: torchvision, timm, or a function of one's own."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from transferability.files import Refused, in_words
from transferability.networks.addressed import InitialDraws
from transferability.networks.chain import Chain
from transferability.networks.top import with_top


def build_network(chain: Chain, classes: int, *address: str | int) -> nn.Module | list[tuple[str, nn.Module]]:
    """The network with one output per class, or its parts: its own code's first weights, drawn at `address`.

    Without an address its weights are not set. Refused: an unknown network, a library that is not installed, arguments
    that it does not take, weights that are drawn by something else than torch's functions.
    """
    builder = _builder(chain, classes)
    with InitialDraws(*address):
        try:
            built = builder()
        except Refused as error:
            raise Refused(f"{chain.name}: {error}") from None
        except Exception as error:
            raise Refused(f"{chain.name}: it cannot be built ({in_words(error)})") from None
        if chain.top is not None:
            if not isinstance(built, nn.Module):
                raise Refused(f"{chain.name} is a list of parts: put its new top there, as further parts")
            built = with_top(built, chain.top, chain.crop, classes, chain.name)
    parts = [("", built)] if isinstance(built, nn.Module) else _parts(chain, built)
    for part, module in parts:
        _refuse_lazy(chain, part, module)
    return built if isinstance(built, nn.Module) else parts


def _refuse_lazy(chain: Chain, part: str, module: nn.Module) -> None:
    """Refuses modules whose weights have no shape before they have seen an image."""
    for name, weights in module.named_parameters():
        if nn.parameter.is_lazy(weights):
            path = ".".join(filter(None, [part, name]))
            raise Refused(f"{chain.name}: {path} is of a lazy module; build it with the number of its inputs")


def _parts(chain: Chain, built: Any) -> list[tuple[str, nn.Module]]:
    """The named parts that a function returned in place of a network."""
    try:
        parts = [(str(name), part) for name, part in (built.items() if isinstance(built, Mapping) else built)]
    except (TypeError, ValueError):
        parts = []
    if not parts or not all(isinstance(part, nn.Module) for _, part in parts):
        raise Refused(
            f"{chain.name} returns {type(built).__name__}; return an nn.Module, or pairs of name and nn.Module"
        )
    return parts


def _builder(chain: Chain, classes: int) -> Callable[[], Any]:
    options = dict(chain.options)
    if not isinstance(chain.network, str):
        function = chain.network
        return lambda: function(classes, **options)
    library, _, name = chain.network.partition(":")
    if library == "torchvision":
        return _torchvision_builder(chain, name, classes, options)
    if library == "timm":
        return _timm_builder(chain, name, classes, options)
    raise Refused(f"no network {chain.network!r}; write torchvision:NAME, timm:NAME, or a function")


def _torchvision_builder(chain: Chain, name: str, classes: int, options: dict[str, Any]) -> Callable[[], Any]:
    from torchvision import models

    known = models.list_models(module=models)
    _refuse_unknown(chain.network, name, known)
    if name.startswith("vit_"):
        options = {"image_size": chain.crop, **options}
    elif name.startswith("maxvit_"):
        options = {"input_size": (chain.crop, chain.crop), **options}
    elif name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True, **options}  # a second output would be no class score
    return lambda: models.get_model(name, weights=None, num_classes=classes, **options)


def _timm_builder(chain: Chain, name: str, classes: int, options: dict[str, Any]) -> Callable[[], Any]:
    try:
        import timm
    except ImportError:
        raise Refused(f"{chain.network}: timm is not installed; pip install 'transferability[timm]'") from None
    _refuse_unknown(chain.network, name, timm.list_models())
    settings = timm.models.get_pretrained_cfg(name)
    if settings is not None and settings.fixed_input_size:
        options = {"img_size": chain.crop, **options}
    return lambda: timm.create_model(name, pretrained=False, num_classes=classes, **options)


def known_networks() -> list[str]:
    """The names of the networks of the libraries that are installed: torchvision:resnet18, timm:resnet10t."""
    from torchvision import models

    names = [f"torchvision:{name}" for name in models.list_models(module=models)]
    try:
        import timm
    except ImportError:
        return names
    return names + [f"timm:{name}" for name in timm.list_models()]


def _refuse_unknown(network: object, name: str, known: Sequence[str]) -> None:
    if name not in known:
        nearest = ", ".join(difflib.get_close_matches(name, known, 3, 0.4))
        raise Refused(f"no network {network!r}" + (f"; the nearest names are {nearest}" if nearest else ""))
