"""Weights files on the Hugging Face hub, by the id of a repository and a commit of it."""

import re
from pathlib import Path

from tunable.errors import CheckpointError, TunableError, shorten, shown

PREFIX = "hf:"
FILE = "model.safetensors"
FORM = f"{PREFIX}OWNER/NAME@COMMIT or {PREFIX}OWNER/NAME@COMMIT/FILE"


def is_hub_id(model: str | Path) -> bool:
    """Return whether what a user names as a model is one on the hub."""
    return str(model).startswith(PREFIX)


def fetch(model: str) -> Path:
    """Download a weights file from the hub, unless it is in the hub's cache already.

    Args:
        model: hf:OWNER/NAME@COMMIT, for the file model.safetensors, or with a file's path after one more slash. COMMIT
            has 40 hexadecimal digits: a branch or a tag can be moved, and then the same words would name another file.

    Returns:
        The file in the cache.

    Raises:
        CheckpointError: for words of another form, and for a file that cannot be had.
        TunableError: where the package huggingface_hub is not installed.
    """
    parts = re.fullmatch(rf"{PREFIX}([\w.-]+/[\w.-]+)@([0-9a-f]{{40}})(?:/(.+))?", model)
    if not parts:
        raise CheckpointError(f"a model on the hub is {FORM}, a commit of 40 hexadecimal digits, not {shown(model)}")
    name, commit, file = parts[1], parts[2], parts[3] or FILE
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import logging
    except ImportError:
        raise TunableError(
            f"huggingface_hub is not installed, and {shown(model)} is on the Hugging Face hub: "
            "pip install 'tunable-convolutions[hub]'"
        ) from None
    logging.set_verbosity_error()  # it tells every try
    try:
        return Path(hf_hub_download(name, file, revision=commit))
    except (OSError, ValueError) as error:  # the hub's own errors are of these kinds
        reason = shorten(" ".join(str(error).split()), 300)
        raise CheckpointError(f"cannot fetch {file} of {name} at {commit[:12]} from the hub: {reason}") from None
