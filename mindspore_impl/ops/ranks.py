"""The processes that msrun started, joined by mindspore.communication."""

import os
from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import communication, nn
from mindspore import ops as _ops

from tunable.training.ranks import Launch

# For how long a process waits for the others: process 0 may check pictures, or validate. On a CPU it is 30 s by
# default. HCCL takes no more for joining and for an operation.
_PATIENCE = {"MS_RECEIVE_MSG_TIMEOUT": "3600", "HCCL_CONNECT_TIMEOUT": "7200", "HCCL_EXEC_TIMEOUT": "17340"}


@ms.jit_class
class Ranks:
    """As `tunable.training.ranks.Ranks`, and what a trainer needs.

    msrun's scheduler, which runs the same command, ends here when all others have ended.

    Args:
        launch: what msrun says of this process.
        device: where tensors are.
    """

    def __init__(self, launch: Launch, device: str) -> None:
        self.rank, self.size = launch.rank, launch.size
        if not communication.GlobalComm.INITED:
            for name, seconds in _PATIENCE.items():
                os.environ.setdefault(name, seconds)
            communication.init()
            ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True)
        self._sum, self._broadcast = _ops.AllReduce(), _ops.Broadcast(0)

    def share(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return process 0's tensors in every process.

        Args:
            tensors: float32 or int32 arrays, of the same names, shapes and types in every process.
        """
        shared = {}
        for name in sorted(tensors):
            (tensor,) = self._broadcast((ms.Tensor(tensors[name]),))
            shared[name] = tensor.asnumpy().copy()
        return shared

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over all processes of floats of one shape, in float32."""
        return self._sum(ms.Tensor(values.astype(np.float32))).asnumpy()

    def wait(self) -> None:
        """Return when every process has come here."""
        self._sum(ms.Tensor(np.ones(1, np.float32))).asnumpy()  # a barrier has no kernel on a CPU

    def parallel(self, network: nn.Cell, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return `compute` with the mean of all processes' gradients in the place of this process's.

        Args:
            network: whose parameters have the gradients.
            compute: what is called; returns outputs, and the gradients in the order of the parameters.
        """
        mean = nn.DistributedGradReducer([value for value in network.get_parameters() if value.requires_grad])

        def call(*inputs: Any) -> Any:
            outputs, gradients = compute(*inputs)
            return outputs, mean(gradients)

        return call

    def means(self, *values: ms.Tensor) -> list[ms.Tensor]:
        """Return the means over all processes of numbers and vectors, without waiting for the device."""
        return [self._sum(value) / self.size for value in values]
