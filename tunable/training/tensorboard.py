"""TensorBoard events, written in the caller's own thread.

tensorboardX's SummaryWriter hands events to a thread that dies on a full disk, whereupon its queue fills and
the run waits for ever; its records, written here directly, raise OSError instead.
"""

import socket
import time
from pathlib import Path


class Events:
    """Scalars by step. `first`: steps done before; what an earlier session wrote of later steps is hidden."""

    def __init__(self, folder: Path, first: int):
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
        for name, value in values.items():
            self._write(step=step, summary=self._scalar(name, value))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _write(self, **content) -> None:
        self._writer.write(self._event(wall_time=time.time(), **content).SerializeToString())
