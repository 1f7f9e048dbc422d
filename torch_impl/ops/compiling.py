"""What PyTorch says of its compiler, its transformations and its backward passes by private names only."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

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
