"""TensorBoard's file: what a reader finds in it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from tunable.training.tensorboard import Events


def records(path):
    """The events of a file of records: length, its checksum, bytes, their checksum."""
    content, events = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert struct.unpack("<I", content[8:12])[0] == masked_crc32c(content[:8])
        body, content = content[12 : 12 + length], content[12 + length :]
        assert struct.unpack("<I", content[:4])[0] == masked_crc32c(body)
        events.append(Event.FromString(body))
        content = content[4:]
    return events


@pytest.mark.parametrize("first", [0, 500])
def test_records(first, tmp_path):
    events = Events(tmp_path / "events", first)
    events.scalars(510, {"loss": 0.25, "validation/psnr_1_0": 30.5})
    events.close()
    (path,) = (tmp_path / "events").iterdir()
    assert path.name.startswith("events.out.tfevents.")
    version, start, *scalars = records(path)
    assert version.file_version == "brain.Event:2"
    assert start.session_log.status == SessionLog.START and start.step == first + 1  # later steps are hidden
    assert [(event.step, event.summary.value[0].tag, event.summary.value[0].simple_value) for event in scalars] == [
        (510, "loss", 0.25),
        (510, "validation/psnr_1_0", 30.5),
    ]


def test_a_picture(tmp_path):
    events, levels = Events(tmp_path, 0), np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    events.picture(7, "validation/sweep", levels)
    events.close()
    event = records(next(tmp_path.iterdir()))[-1]
    (value,) = event.summary.value
    assert (event.step, value.tag) == (7, "validation/sweep")
    assert (value.image.height, value.image.width, value.image.colorspace) == (4, 5, 3)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string))), levels)


def test_sessions_do_not_replace_each_other(tmp_path):
    for first in (0, 500):
        Events(tmp_path, first).close()
    assert len(list(tmp_path.iterdir())) == 2


def test_flushed_events_can_be_read(tmp_path):
    events = Events(tmp_path, 0)
    events.scalars(10, {"loss": 1.0})
    events.flush()
    assert len(records(next(tmp_path.iterdir()))) == 3
    events.close()
