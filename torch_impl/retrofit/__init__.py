"""Knobs for any network: layers become tunable where they stand, starting from its weights.

A network is called with the kernels of one omega in the place of its parameters, as by torch.func.functional_call:
nothing of its code has to know of omega, every use of a parameter is reached, and gradients are exact, in omega too.
Only the thread that runs it finds these kernels. All others find the parameters meanwhile, so that any number of
threads may run one network, and nothing has to be put back.
"""

from torch_impl.retrofit.makers import from_endpoints, load_tuned, make_tunable
from torch_impl.retrofit.network import TunedNetwork

__all__ = ["TunedNetwork", "from_endpoints", "load_tuned", "make_tunable"]
