"""Knobs for any network: layers become tunable where they stand, starting from its weights.

A tunable parameter of a cell becomes a property of that cell's class, the kernels' sum at the omega in one shared
parameter, which is set before the network runs: nothing of its code has to know of omega, every use of the parameter is
reached, in graph mode too, and omega changes without a compilation.
"""

from mindspore_impl.retrofit.makers import from_endpoints, load_tuned, make_tunable
from mindspore_impl.retrofit.network import TunedNetwork

__all__ = ["TunedNetwork", "from_endpoints", "load_tuned", "make_tunable"]
