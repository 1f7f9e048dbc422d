"""The PyTorch twin under the name that users know: layers, networks, losses, knobs for networks of one's own.

For example:

    from tunable.torch import TunableConv2d, load_network, make_tunable
"""

import importlib.util

from tunable.errors import needs

if importlib.util.find_spec("torch") is None:
    raise ModuleNotFoundError(f"tunable.torch {needs('torch', 'torch')}", name="torch")

import torch_impl  # noqa: E402
from torch_impl import *  # noqa: F403, E402
from torch_impl.backend import load_network  # noqa: E402

__all__ = ["load_network"]
__all__ += torch_impl.__all__
