"""The network of a state dict: the user's factory makes it, the file gives its weights."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from edgevision.converters.readers import Request
from edgevision.errors import ModelError, UsageError
from edgevision.text import printable

__all__ = ["network"]

#: Where training scripts put the weights among other things.
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "ema", "params")


def network(request: Request) -> Any:
    """The factory's network with the file's weights, a ``torch.nn.Module`` in eval mode.

    Raises:
        UsageError: The factory gives no network.
        ModelError: The file holds no state dict, or that of another network.
    """
    import torch

    try:
        saved = torch.load(request.path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError) as error:
        raise ModelError(
            f"{request.path} is truncated or damaged",
            received=printable(str(error).strip().splitlines()[0], 300),
            expected="a whole file of torch.save",
            hint="save or download it again",
        ) from error
    module = _made(request)
    try:
        module.load_state_dict(_weights(request, saved))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise ModelError(
            f"the weights in {request.path} do not fit the network of {request.factory}",
            received=printable(" ".join(lines), 400),
            expected="every weight of the network, by its name and with its shape",
            hint="let the factory make the network that was trained, with the same options",
        ) from error
    return module.eval()


def _made(request: Request) -> Any:
    """What the factory gives: the user's own code, and the only code that is run for a state dict."""
    import torch

    module_name, _, name = (request.factory or "").partition(":")
    if not (module_name and name):
        raise UsageError(
            f"{request.path} holds weights, and no network",
            received=f"--factory {request.factory}" if request.factory else "no --factory",
            expected="--factory module:function, a function without arguments that gives the torch.nn.Module",
            hint="the module is looked for in this environment, then in the current folder",
        )
    sys.path.append(str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module_name), name)()
    except Exception as error:  # the user's own code may raise anything
        raise UsageError(
            f"--factory {request.factory} gives no network",
            received=printable(f"{type(error).__name__}: {error}", 300),
            expected="a function without arguments that gives the torch.nn.Module",
            hint="the module is looked for in this environment, then in the current folder",
        ) from error
    if not isinstance(made, torch.nn.Module):
        raise UsageError(
            f"--factory {request.factory} gives no network",
            received=type(made).__name__,
            expected="a torch.nn.Module",
        )
    return made


def _weights(request: Request, saved: Any) -> dict[str, Any]:
    """The state dict itself, from among what a training script saved with it."""
    import torch

    for key in _INSIDE:
        if isinstance(saved, dict) and isinstance(saved.get(key), dict):
            saved = saved[key]
            break
    named = isinstance(saved, dict) and all(isinstance(v, torch.Tensor) for v in saved.values())
    if not named:
        raise ModelError(
            f"{request.path} is no state dict",
            received=printable(
                ", ".join(map(str, saved)) if isinstance(saved, dict) else type(saved).__name__
            ),
            expected=f"names and tensors, or those under one of {', '.join(_INSIDE)}",
            hint="torch.save(model.state_dict(), 'weights.pt')",
        )
    # torch.nn.DataParallel and torch.compile put their own name before all others.
    return {re.sub(r"^(module\.|_orig_mod\.)+", "", name): value for name, value in saved.items()}
