"""Files of one setting for programs that know nothing of knobs: by name of the format."""

from pathlib import Path

from numpy.typing import ArrayLike

from tunable.backends.model import Model, WeightsModel
from tunable.errors import TunableError
from tunable.exports.darktable import export_darktable
from tunable.exports.judging import SUFFIXES, Report
from tunable.exports.ncnn import export_ncnn
from tunable.exports.official import export_official

PROGRAMS = ("official", "darktable", "ncnn")
WEB = "web"
FORMATS = (*SUFFIXES, WEB, *PROGRAMS)


def export_for(
    model: Model,
    format: str,
    path: str | Path,
    omega: ArrayLike | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[list[Path], Report]:
    """Write a network of one setting for other programs, once its files have been run and compared.

    Args:
        model: with weights.
        format: "official", "darktable" or "ncnn".
        path: the file, or the folder of darktable.
        omega: (p,) to fold at; None for a plain network, and for a set of official files.
        size: height and width of darktable's tiles; None: its usual ones.

    Returns:
        The files, and how far what they compute is from the network.

    Raises:
        CheckFailed: where that is too far; no file is left.
        TunableError: for what cannot be asked.
    """
    if not isinstance(model, WeightsModel):
        raise TunableError("an exported model cannot be exported again: load the weights that it was made from")
    if omega is not None and not model.objectives:
        raise TunableError("a plain network takes no omega: it is exported as it is")
    if size is not None and format != "darktable":
        raise TunableError(f"a size is for a graph or for darktable's tiles, not for format {format}")
    if format == "official":
        return export_official(model, path, omega)
    if omega is None and model.objectives:
        raise TunableError(f"a file of format {format} holds one setting of the knobs {', '.join(model.objectives)}: "
                           "say which by omega")  # fmt: skip
    return export_ncnn(model, path, omega) if format == "ncnn" else export_darktable(model, path, omega, size)
