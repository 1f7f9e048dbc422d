"""What PyTorch says of its compiler, transformations, backward passes and operators by private names only."""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_Function = TypeVar("_Function", bound=Callable[..., Any])


def never_a_graph_of_its_own(function: _Function) -> _Function:
    """Mark a function that torch.compile takes into a graph of what calls it, or leaves to Python.

    Returns:
        The function.
    """
    compiler = torch._C._dynamo.eval_frame  # pyright: ignore[reportAttributeAccessIssue]  not in torch's stubs
    skip = compiler._FrameExecStrategy(compiler._FrameAction.SKIP, compiler._FrameAction.DEFAULT)
    code = function.__code__  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]  a `def` has it
    compiler.set_code_exec_strategy(code, skip)
    return function


def is_transformed() -> bool:
    """Return whether a transformation of torch.func runs, in which no tensor may be told to require a gradient."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]  not in torch's stubs


def is_backward() -> bool:
    """Return whether a backward pass runs."""
    return torch._C._current_graph_task_id() != -1


def compile_every_shape() -> None:
    """Let torch.compile compile a function as often as it meets another shape: beyond eight it would run eagerly."""
    torch._dynamo.config.recompile_limit = 10_000


def operators_of(function: Callable[..., Any], *inputs: Any) -> Counter[str]:
    """Run a function and count the operators that it starts, by name; those that only make views are left out.

    An operator makes views where its schema says that its output is an alias of an input that it does not write to.
    """
    counting = _Counting()
    with counting:
        function(*inputs)
    return counting.started


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.started: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.started[str(func)] += 1
        return func(*args, **(kwargs or {}))
