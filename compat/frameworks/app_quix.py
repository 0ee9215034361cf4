"""Counts words with Quix Streams: NAME SOURCE SINK STATE-DIRECTORY."""

import os
import sys

from quixstreams import Application

name, source, sink, state = sys.argv[1:]
app = Application(
    broker_address=os.environ["COMPAT_BOOTSTRAP"],
    consumer_group=name,
    processing_guarantee="exactly-once",
    auto_offset_reset="earliest",
    commit_interval=0.5,
    state_dir=state,
)


def count(_value, table):
    seen = table.get("count", 0) + 1
    table.set("count", seen)
    return seen


frame = app.dataframe(app.topic(source, key_deserializer="str", value_deserializer="str"))
frame = frame.apply(count, stateful=True).apply(str)
frame.to_topic(app.topic(sink, key_serializer="str", value_serializer="str"))
app.run()
