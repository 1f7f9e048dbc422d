"""TensorBoard events, written in the caller's own thread as records of tensorboardX.

tensorboardX's SummaryWriter does not fit a run that must survive a full disk: its thread dies there with a traceback,
its `flush` does not wait for the events in its queue, and the process then hangs when it ends. Its RecordWriter, which
that thread uses, raises OSError where it is called, and closes its file in spite of one.
"""

import socket
import time
from pathlib import Path
from typing import Any


class Events:
    """A file of scalars by step.

    Args:
        folder: of the files, one per session; it is made.
        first: steps done before; TensorBoard hides what earlier sessions wrote of later steps.

    Raises:
        OSError: from every method, where the file cannot be written.
    """

    def __init__(self, folder: Path, first: int) -> None:
        # Here, not above: tensorboardX imports torch where that is installed, and `train --help` would wait for it.
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import scalar

        self._event, self._scalar = Event, scalar
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{first}"
        self._writer = RecordWriter(str(folder / name))
        self._write(file_version="brain.Event:2")
        self._write(step=first + 1, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Add the values of a step, by their names."""
        for name, value in values.items():
            self._write(step=step, summary=self._scalar(name, value))

    def flush(self) -> None:
        """Bring all events to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Bring all events to the disk and close the file."""
        self._writer.close()

    def _write(self, **content: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **content).SerializeToString())
