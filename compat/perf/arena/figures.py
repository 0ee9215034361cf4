"""Every figure: what it is, its unit, whether more is better, and what it should be beside Apache Kafka's."""

from dataclasses import dataclass, field

KAFKA = "kafka"


@dataclass
class Figure:
    key: str
    title: str
    unit: str = ""
    more: bool = False
    # By system: what this figure divided by Kafka's is to be, at most (or at least, if more is better).
    ratio: dict = field(default_factory=dict)
    # By system: what it is to be by itself.
    limit: dict = field(default_factory=dict)
    # The figure that says how busy the generator was, which above 0.9 makes this one the generator's.
    client: str = ""

    def met(self, value, aim):
        return value >= aim if self.more else value <= aim


def _all(value):
    return {"trestle": value, "trestle-nofsync": value}


FIGURES = [
    Figure("start", "start to the first acknowledged record", "ms", ratio=_all(1 / 50), limit={"trestle": 60, "trestle-nofsync": 60, "trestle-memory": 25}),
    Figure("idle.memory", "resident memory after the start", "MB", ratio=_all(1 / 20), limit=_all(20)),
    Figure("produce", "produce 1 KiB, acks=all, ten partitions, librdkafka", "MiB/s", True, ratio={"trestle": 1.2}, client="produce.client"),
    Figure("produce.cpu", "the broker's CPU for that", "s/GiB", ratio={"trestle": 0.6}),
    Figure("produce.memory", "most resident memory during that", "MB", ratio={"trestle": 1 / 4}),
    Figure("written", "bytes written per byte produced, settled", "", limit={"trestle": 2.05, "trestle-nofsync": 2.05}),
    Figure("consume", "catch-up from page cache, librdkafka", "MiB/s", True, ratio={"trestle": 1.0}, client="consume.client"),
    Figure("consume.cpu", "the broker's CPU for that", "s/GiB", ratio={"trestle": 0.6}),
    Figure("hot", "consumers that follow, while producers go on", "MiB/s", True, ratio={"trestle": 1.2}, client="hot.client"),
    Figure("hot.cpu", "the broker's CPU for both, per GiB produced", "s/GiB"),
    Figure("requests", "64 connections, one record of 1 KiB a request (linger 0)", "1/s", True, ratio={"trestle": 1.0, "trestle-nofsync": 1.5}, client="requests.client"),
    Figure("requests.p99", "p99 of those requests", "ms"),
    Figure("requests.cpu", "the broker's CPU for one", "us"),
    Figure("latency.1000.p50", "end to end at 1,000 a second, p50", "ms", ratio={"trestle-nofsync": 0.5}),
    Figure("latency.1000.p99", "end to end at 1,000 a second, p99", "ms", ratio={"trestle": 1.0, "trestle-nofsync": 0.5}),
    Figure("latency.100.p50", "end to end at 100 a second, p50", "ms"),
    Figure("latency.100.p99", "end to end at 100 a second, p99", "ms"),
    Figure("latency.10000.p50", "end to end at 10,000 a second, p50", "ms"),
    Figure("latency.10000.p99", "end to end at 10,000 a second, p99", "ms"),
    Figure("java.produce", "produce 1 KiB, ten partitions, Kafka's producer", "MiB/s", True, client="java.produce.client"),
    Figure("java.produce.cpu", "the broker's CPU for that", "s/GiB"),
    Figure("java.consume", "catch-up from page cache, Kafka's consumer", "MiB/s", True, client="java.consume.client"),
    Figure("java.consume.cpu", "the broker's CPU for that", "s/GiB"),
    Figure("java.latency", "end to end, one record after another, Kafka's clients, mean", "ms"),
    Figure("many.create", "10,000 partitions: created", "s", ratio=_all(1 / 5)),
    Figure("many.metadata", "10,000 partitions: Metadata of all", "ms"),
    Figure("many.produce", "10,000 partitions: a record to each", "s"),
    Figure("many.memory", "10,000 partitions: resident memory", "MB", ratio=_all(1 / 5)),
    Figure("transaction.p50", "a transaction of ten partitions and 100 records, p50", "ms"),
    Figure("transaction.p99", "a transaction of ten partitions and 100 records, p99", "ms"),
    *[
        figure
        for shape in ("100 B", "10 KiB", "1 MiB", "large batches", "lz4", "zstd", "1 partition", "1,000 partitions", "idempotent")
        for figure in (
            Figure(f"shape.{shape}", f"produce, {shape}", "MiB/s", True, client=f"shape.{shape}.client"),
            Figure(f"shape.{shape}.cpu", "the broker's CPU for that", "s/GiB"),
        )
    ],
    Figure("read.among", "twenty readers, a partition each among 1,000", "MiB/s", True),
    Figure("read.hundred", "a hundred consumers of one partition", "MiB/s", True, client="read.hundred.client"),
    Figure("read.hundred.cpu", "the broker's CPU for that", "s/GiB"),
    Figure("read.cold", "catch-up after a restart, cold page cache", "MiB/s", True),
    Figure("idle.cpu", "CPU while nothing happens", "% of a core"),
    Figure("idle.written", "written while nothing happens", "MiB/h"),
]
