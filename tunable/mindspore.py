"""The MindSpore twin under the name that users know: layers, networks, losses, knobs for networks of one's own.

For example:

    from tunable.mindspore import TunableConv2d, load_network, make_tunable
"""

import importlib.util

from tunable.errors import needs

if importlib.util.find_spec("mindspore") is None:
    raise ModuleNotFoundError(f"tunable.mindspore {needs('mindspore', 'mindspore')}", name="mindspore")

import mindspore_impl  # noqa: E402
from mindspore_impl import *  # noqa: F403, E402
from mindspore_impl.backend import load_network  # noqa: E402

__all__ = ["load_network"]
__all__ += mindspore_impl.__all__
