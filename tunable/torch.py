"""The PyTorch twin under the name that users know: layers, networks, losses, knobs for networks of one's own.

For example:

    from tunable.torch import TunableConv2d, load_network, make_tunable
"""

import torch_impl
from torch_impl import *  # noqa: F403
from torch_impl.backend import load_network

__all__ = ["load_network"]
__all__ += torch_impl.__all__
