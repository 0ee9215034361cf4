"""Counts words with Faust: NAME SOURCE SINK STATE-DIRECTORY."""

import os
import sys

import faust

name, source, sink, state = sys.argv[1:]
app = faust.App(
    name,
    broker=f"kafka://{os.environ['COMPAT_BOOTSTRAP']}",
    store="memory://",
    datadir=state,
    topic_partitions=2,
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    broker_commit_interval=0.5,
    web_enabled=False,
    key_serializer="raw",
    value_serializer="raw",
)
words = app.topic(source, key_serializer="raw", value_serializer="raw")
counts = app.topic(sink, key_serializer="raw", value_serializer="raw")
table = app.Table("counts", default=int, partitions=2)


@app.agent(words)
async def count(stream):
    async for word, _ in stream.items():
        table[word.decode()] += 1
        await counts.send(key=word, value=str(table[word.decode()]).encode())


sys.argv = [name, "worker", "-l", "warn"]
app.main()
