"""Just enough of the Kafka protocol to prepare topics and to look at stored batches.

Harnesses speak through the client that they are about. What a client will not show (whether a
batch was really compressed, whether it carries a producer id) is read here from the wire.
"""

import socket
import struct
import time

CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


class WireError(Exception):
    """The broker answered with an error code, or not at all."""


def _string(text):
    raw = text.encode()
    return struct.pack(">h", len(raw)) + raw


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def bytes(self, length):
        if length < 0:
            return b""
        self.at += length
        return self.data[self.at - length : self.at]

    def string(self):
        return self.bytes(self.take("h")).decode()


def call(address, key, version, body):
    """One request on a connection of its own; answers a reader behind the response header (v0)."""
    host, port = address.rsplit(":", 1)
    frame = struct.pack(">hhi", key, version, 1) + _string("compat") + body
    with socket.create_connection((host, int(port)), timeout=30) as s:
        s.sendall(struct.pack(">i", len(frame)) + frame)
        stream = s.makefile("rb")
        head = stream.read(4)
        if len(head) < 4:
            raise WireError(f"{address} closed the connection on API key {key} version {version}")
        (size,) = struct.unpack(">i", head)
        reader = _Reader(stream.read(size))
    reader.take("i")
    return reader


def create_topic(address, topic, partitions, configs):
    """CreateTopics v2, then Metadata until every partition has a leader."""
    body = struct.pack(">i", 1) + _string(topic) + struct.pack(">ihi", partitions, 1, 0)
    body += struct.pack(">i", len(configs)) + b"".join(_string(k) + _string(v) for k, v in configs.items())
    reader = call(address, 19, 2, body + struct.pack(">i?", 30_000, False))
    reader.take("ii")
    reader.string()
    error = reader.take("h")
    if error:
        raise WireError(f"CreateTopics {topic}: error code {error}")
    deadline = time.monotonic() + 30
    while sum(leader >= 0 for leader in leaders(address, topic)) < partitions:
        if time.monotonic() > deadline:
            raise WireError(f"topic {topic} has no leaders 30 s after its creation")
        time.sleep(0.02)


def grow_topic(address, topic, partitions):
    """CreatePartitions v0: so many in all."""
    body = struct.pack(">i", 1) + _string(topic) + struct.pack(">ii", partitions, -1)
    reader = call(address, 37, 0, body + struct.pack(">i?", 30_000, False))
    reader.take("ii")
    reader.string()
    error = reader.take("h")
    if error:
        raise WireError(f"CreatePartitions {topic}: error code {error}")


def leaders(address, topic):
    """Leader id of each partition of a topic (Metadata v4, without creating it)."""
    reader = call(address, 3, 4, struct.pack(">i", 1) + _string(topic) + struct.pack(">?", False))
    reader.take("i")
    for _ in range(reader.take("i")):
        reader.take("i"), reader.string(), reader.take("i"), reader.string()
    reader.string(), reader.take("i"), reader.take("i")
    reader.take("h"), reader.string(), reader.take("?")
    found = []
    for _ in range(reader.take("i")):
        found.append(reader.take("hii")[2])
        for _ in range(2):
            reader.bytes(4 * reader.take("i"))
    return found


def group(address, name):
    """State and sorted member ids of a classic group (DescribeGroups v0)."""
    reader = call(address, 15, 0, struct.pack(">i", 1) + _string(name))
    _, error = reader.take("ih")
    if error:
        raise WireError(f"DescribeGroups {name}: error code {error}")
    reader.string()
    state, _, _ = reader.string(), reader.string(), reader.string()
    members = []
    for _ in range(reader.take("i")):
        members.append(reader.string())
        reader.string(), reader.string(), reader.bytes(reader.take("i")), reader.bytes(reader.take("i"))
    return {"state": state, "members": sorted(members)}


def batches(address, topic, partition):
    """Every batch of a partition: base offset, records, codec, producer id (Fetch v10, the first that may carry zstd)."""
    found, offset = [], 0
    while True:
        body = struct.pack(">iiiibii", -1, 0, 1, 64 << 20, 0, 0, -1) + struct.pack(">i", 1) + _string(topic)
        body += struct.pack(">iiiqqi", 1, partition, -1, offset, -1, 64 << 20) + struct.pack(">i", 0)
        reader = call(address, 1, 10, body)
        _, error, _, _ = reader.take("ihii")
        if error:
            raise WireError(f"Fetch {topic}/{partition} at {offset}: error code {error}")
        reader.string()
        _, _, error, high_watermark, _, _ = reader.take("iihqqq")
        if error:
            raise WireError(f"Fetch {topic}/{partition} at {offset}: error code {error}")
        reader.bytes(16 * max(reader.take("i"), 0))
        records = reader.bytes(reader.take("i"))
        start = offset
        while len(records) >= 61:
            base, length = struct.unpack_from(">qi", records)
            if len(records) < 12 + length:
                break
            attributes, last_delta = struct.unpack_from(">hi", records, 21)
            producer_id, _, _, count = struct.unpack_from(">qhii", records, 43)
            if base + last_delta >= offset:
                found.append(
                    {"base_offset": base, "records": count, "codec": CODECS.get(attributes & 7, "unknown"), "producer_id": producer_id}
                )
            offset = base + last_delta + 1
            records = records[12 + length :]
        if offset >= high_watermark:
            return found
        if offset == start:
            raise WireError(f"Fetch {topic}/{partition} at {offset} is stuck below the high watermark {high_watermark}")
