"""The processes that torchrun started, joined by torch.distributed."""

import atexit
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from torch_impl.ops.device import DISTRIBUTED
from tunable.training.ranks import Launch

# For how long a process waits for the others: process 0 may check pictures, or validate. NCCL gives up after 10 minutes
# by default; where a process dies the launcher ends the others.
_PATIENCE = timedelta(hours=24)


class Ranks:
    """As `tunable.training.ranks.Ranks`, and what a trainer needs.

    Args:
        launch: what torchrun says of this process.
        device: where tensors are.
    """

    def __init__(self, launch: Launch, device: torch.device) -> None:
        self.rank, self.size, self._device = launch.rank, launch.size, device
        if not distributed.is_initialized():
            if device.type != "cpu":
                torch.get_device_module(device).set_device(device)
            distributed.init_process_group(DISTRIBUTED[device.type], timeout=_PATIENCE)
            atexit.register(distributed.destroy_process_group)

    def share(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return process 0's tensors in every process.

        Args:
            tensors: float32 or int32 arrays, of the same names, shapes and types in every process.
        """
        shared = {}
        for name in sorted(tensors):
            tensor = torch.from_numpy(np.ascontiguousarray(tensors[name])).to(self._device, copy=True)
            distributed.broadcast(tensor, 0)
            shared[name] = tensor.cpu().numpy()
        return shared

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over all processes of floats of one shape, in float32."""
        together = torch.from_numpy(values.astype(np.float32)).to(self._device)
        distributed.all_reduce(together)
        return together.cpu().numpy()

    def wait(self) -> None:
        """Return when every process has come here."""
        distributed.barrier()

    def parallel(self, network: nn.Module, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return `compute` with a `backward` that leaves in every process the mean of all processes' gradients.

        Args:
            network: whose parameters get the gradients.
            compute: what is called; calls the network, and returns the loss, or a tuple that begins with it.
        """
        made: list[nn.Module] = []

        def call(*inputs: Any) -> Any:
            if not made:
                # What the loss does not reach gets no gradient, which a process has to tell the others. Looking for it
                # at every step takes time, and where there is nothing of the kind it makes torch warn.
                outputs = compute(*inputs)
                loss = outputs[0] if isinstance(outputs, tuple) else outputs
                trained = [value for value in network.parameters() if value.requires_grad]
                reached = torch.autograd.grad(loss, trained, allow_unused=True)
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
                    made.append(
                        DistributedDataParallel(
                            _Computation(network, compute),
                            broadcast_buffers=False,
                            find_unused_parameters=any(gradient is None for gradient in reached),
                        )
                    )
            return made[0](*inputs)

        return call

    def means(self, *values: torch.Tensor) -> list[torch.Tensor]:
        """Return the means over all processes of numbers and vectors, without waiting for the device."""
        together = torch.cat([value.detach().reshape(-1) for value in values])
        distributed.all_reduce(together)
        parts = (together / self.size).split([value.numel() for value in values])
        return [part.reshape(value.shape) for part, value in zip(parts, values, strict=True)]


class _Computation(nn.Module):
    """The module that DistributedDataParallel wants: the network inside, the loss as its output."""

    def __init__(self, network: nn.Module, compute: Callable[..., Any]) -> None:
        super().__init__()
        self.network, self._compute = network, compute

    def forward(self, *inputs: Any) -> Any:
        return self._compute(*inputs)
