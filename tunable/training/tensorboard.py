"""TensorBoard events, written in the caller's own thread as records of tensorboardX.

tensorboardX's SummaryWriter does not fit a run that must survive a full disk: its thread dies there with a traceback,
its `flush` does not wait for the events in its queue, and the process then hangs when it ends. Its RecordWriter, which
that thread uses, raises OSError where it is called, and closes its file in spite of one.
"""

import io
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class Events:
    """A file of scalars and pictures by step.

    Args:
        folder: of the files, one per session; it is made.
        first: steps done before; TensorBoard hides what earlier sessions wrote of later steps.

    Raises:
        OSError: from every method, where the file cannot be written.
    """

    def __init__(self, folder: Path, first: int) -> None:
        # Here, not above: tensorboardX imports torch where that is installed, and `train --help` would wait for it.
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import scalar

        self._event, self._scalar, self._summary = Event, scalar, Summary
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{first}"
        self._writer = RecordWriter(str(folder / name))
        self._write(file_version="brain.Event:2")
        self._write(step=first + 1, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Add the values of a step, by their names."""
        for name, value in values.items():
            self._write(step=step, summary=self._scalar(name, value))

    def picture(self, step: int, name: str, levels: np.ndarray) -> None:
        """Add a picture of a step, uint8 (H, W, 3), as PNG."""
        png = io.BytesIO()
        Image.fromarray(levels).save(png, "PNG")
        height, width, channels = levels.shape
        image = self._summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=png.getvalue()
        )
        self._write(step=step, summary=self._summary(value=[self._summary.Value(tag=name, image=image)]))

    def flush(self) -> None:
        """Bring all events to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Bring all events to the disk and close the file."""
        self._writer.close()

    def _write(self, **content: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **content).SerializeToString())
