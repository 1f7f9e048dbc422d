"""The MindSpore twin under the name that users know: layers, networks, losses, knobs for networks of one's own.

For example:

    from tunable.mindspore import TunableConv2d, load_network, make_tunable
"""

import mindspore_impl
from mindspore_impl import *  # noqa: F403
from mindspore_impl.backend import load_network

__all__ = ["load_network"]
__all__ += mindspore_impl.__all__
