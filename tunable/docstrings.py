"""Docstrings of classes that share a constructor."""

import inspect

ARGUMENTS = "Args:"


def inherit_arguments(cls: type) -> None:
    """Document a constructor where `help(cls)` shows it: in the class that inherits it, too.

    A class without a constructor of its own gets its base's docstring from `Args:` on, below its own.

    Args:
        cls: a class whose docstring says nothing of arguments that it inherits.
    """
    docstring, base = (inspect.cleandoc(one.__doc__ or "") for one in cls.__mro__[:2])
    if (
        "__init__" not in vars(cls)
        and docstring
        and docstring != base
        and ARGUMENTS in base
        and ARGUMENTS not in docstring
    ):
        cls.__doc__ = f"{docstring}\n\n{base[base.index(ARGUMENTS) :]}"
