"""What is done to each broker. A workload gets a broker with an empty store, and answers figures by name."""

import os
import pathlib
import sys
import time

from runner import wire

from . import clients, process

GIB = 1 << 30
MIB = 1 << 20


class Run:
    """A broker, and what a workload has of it: topics, clients, and what the broker uses."""

    def __init__(self, kind, pin, scale, lines):
        brokers, self.cores = process.PINS[pin]
        self.system, self.scale, self.lines = kind(brokers), scale, lines
        self.address = None
        self.topics = 0
        self.figures = {}

    def start(self):
        """Answers the seconds until the first record was acknowledged; none if it runs already."""
        if self.system.process:
            return None
        if not self.address:
            self.system.prepare()
        acknowledged = None if self.system.name == "mock" else clients.first_ack(self.system.address, self.cores)
        began = time.time()
        self.system.start()
        acknowledged = acknowledged or clients.first_ack(self.system.address, self.cores)
        self.address, self.usage = self.system.address, self.system.usage
        return acknowledged() - began

    def topic(self, partitions, **settings):
        """A new topic; where topics are made by asking for them, it has as many partitions as that gives."""
        self.topics += 1
        name = f"arena-{self.topics}"
        try:
            wire.create_topic(self.address, name, partitions, settings)
        except (wire.WireError, OSError):
            clients.load(self.address, self.cores, "requests", topic=name, partitions=1, connections=1, seconds=0.1, warm_up=0)
        return name

    def cost(self, work, amount):
        """What the broker uses for it; `work` answers the client, `amount` is in bytes."""
        self.usage.forget_peak()
        cpu = self.usage.cpu()
        client = work()
        return client, (self.usage.cpu() - cpu) * GIB / amount, self.usage.peak_mb()

    def load(self, driver, **shape):
        """The load example's figures, with the broker's CPU seconds since it began to count."""
        before = [self.usage.cpu()]
        found = clients.load(self.address, self.cores, driver, lambda: before.append(self.usage.cpu()), **shape)
        return found, self.usage.cpu() - before[-1]

    def amount(self, mebibytes):
        return max(1, int(mebibytes * self.scale)) * MIB

    def partitions(self, wanted):
        return max(50, int(wanted * min(1, self.scale * 2)))

    def seconds(self, wanted):
        return max(0.5, wanted * min(1, self.scale * 2))

    def at_rest(self):
        """Waits until the broker writes nothing for two seconds, but no longer than twenty."""
        deadline, before, since = time.monotonic() + self.seconds(20), -1, time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < 2:
            if (now := self.usage.written()) != before:
                before, since = now, time.monotonic()
            time.sleep(0.1)


def librdkafka(run):
    """The main row: 1 KiB over ten partitions by kcat, and everything read again; the figures of a whole life."""
    took, figures = run.start(), {}
    if took is not None:
        time.sleep(2)
        figures = {"start": took * 1000, "idle.memory": run.usage.resident_mb()}
    warm, topic = run.topic(10), run.topic(10)
    path, count = run.lines.of(1024, run.amount(256))
    clients.kcat_produce(run.address, run.cores, warm, path)
    clients.kcat_consume(run.address, run.cores, warm)
    sent = count * 1024
    path, count = run.lines.of(1024, run.amount(1024))
    client, cpu, memory = run.cost(lambda: clients.kcat_produce(run.address, run.cores, topic, path), count * 1024)
    sent += count * 1024
    figures |= {"produce": count * 1024 / MIB / client.seconds, "produce.client": client.busy, "produce.cpu": cpu, "produce.memory": memory}
    client, cpu, _ = run.cost(lambda: clients.kcat_consume(run.address, run.cores, topic), count * 1024)
    figures |= {"consume": count * 1024 / MIB / client.seconds, "consume.client": client.busy, "consume.cpu": cpu}
    if not run.system.in_memory:
        run.at_rest()
        written = run.system.stop()
        if took is not None:
            figures["written"] = written / sent
    return figures


def java(run):
    """Kafka's own measuring programs: 1 KiB over ten partitions, with their default batches."""
    run.start()
    warm, topic, slow = run.topic(10), run.topic(10), run.topic(1)
    clients.java_produce(run.address, run.cores, warm, 1024, run.amount(256) // 1024)
    count = run.amount(512) // 1024
    speed = []

    def produce():
        found, client = clients.java_produce(run.address, run.cores, topic, 1024, count)
        speed.append(found)
        return client

    def consume():
        found, client = clients.java_consume(run.address, run.cores, topic, count)
        speed.append(found)
        return client

    client, cpu, _ = run.cost(produce, count * 1024)
    figures = {"java.produce": speed.pop(), "java.produce.client": client.busy, "java.produce.cpu": cpu}
    client, cpu, _ = run.cost(consume, count * 1024)
    figures |= {"java.consume": speed.pop(), "java.consume.client": client.busy, "java.consume.cpu": cpu}
    figures["java.latency"], _ = clients.java_latency(run.address, run.cores, slow, max(200, int(5000 * run.scale)))
    return figures


def small(run):
    """64 connections, each with one request of one record of 1 KiB."""
    run.start()
    found, cpu = run.load("requests", seconds=run.seconds(6), warm_up=run.seconds(12), topic=run.topic(10))
    requests = max(1, found["bytes"] / 1024)
    return {"requests": found["requests"], "requests.p99": found["p99"], "requests.client": found["generator"], "requests.cpu": cpu * 1e6 / requests}


def latency(run):
    """End to end at fixed rates."""
    run.start()
    figures, topic = {}, run.topic(1)
    for rate in (1000, 100, 10_000):
        found, _ = run.load("end-to-end", rate=rate, seconds=run.seconds(6), warm_up=run.seconds(5 if rate == 1000 else 1), topic=topic, partitions=1)
        figures |= {f"latency.{rate}.p50": found["p50"], f"latency.{rate}.p99": found["p99"]}
    return figures


def hot(run):
    """Four connections produce batches of 16 KiB while a consumer follows on each partition."""
    run.start()
    found, cpu = run.load("follow", connections=4, in_flight=4, records=16, seconds=run.seconds(6), warm_up=run.seconds(4), topic=run.topic(10))
    return {"hot": found["consumed"], "hot.produced": found["produced"], "hot.client": found["generator"], "hot.cpu": cpu * GIB / found["bytes"]}


SHAPES = {
    "100 B": (100, 128, 10, []),
    "10 KiB": (10 << 10, 512, 10, []),
    "1 MiB": ((1 << 20) - 1000, 512, 10, ["message.max.bytes=2000000"]),
    "large batches": (1024, 512, 10, ["linger.ms=50", "batch.size=1000000", "batch.num.messages=100000"]),
    "lz4": (1024, 512, 10, ["compression.codec=lz4"]),
    "zstd": (1024, 512, 10, ["compression.codec=zstd"]),
    "1 partition": (1024, 512, 1, []),
    "1,000 partitions": (1024, 512, 1000, []),
    "idempotent": (1024, 512, 10, ["enable.idempotence=true"]),
}


def shapes(run):
    """Other records, batches, codecs and numbers of partitions, by kcat."""
    run.start()
    warm = run.topic(10)
    clients.kcat_produce(run.address, run.cores, warm, run.lines.of(1024, run.amount(128))[0])
    figures = {}
    for name, (size, mebibytes, partitions, settings) in SHAPES.items():
        topic = run.topic(run.partitions(partitions) if partitions > 10 else partitions, **({"max.message.bytes": "2000000"} if size > 100_000 else {}))
        path, count = run.lines.of(size, run.amount(mebibytes))
        client, cpu, _ = run.cost(lambda: clients.kcat_produce(run.address, run.cores, topic, path, *settings), count * size)
        figures |= {f"shape.{name}": count * size / MIB / client.seconds, f"shape.{name}.client": client.busy, f"shape.{name}.cpu": cpu}
    return figures


def readers(run):
    """One partition among a thousand; a hundred consumers of one partition; everything from a cold page cache."""
    run.start()
    partitions = run.partitions(1000)
    topic = run.topic(partitions)
    run.load("requests", topic=topic, partitions=partitions, connections=4, in_flight=8, records=16, seconds=run.seconds(6), warm_up=0)
    found, _ = run.load("read", topic=topic, partitions=20, partition=partitions // 2, connections=20)
    figures = {"read.among": found["consumed"]}
    topic = run.topic(1)
    run.load("requests", topic=topic, partitions=1, connections=1, in_flight=4, records=16, seconds=run.seconds(2), warm_up=0)
    found, cpu = run.load("read", topic=topic, partitions=1, connections=100)
    figures |= {"read.hundred": found["consumed"], "read.hundred.client": found["generator"], "read.hundred.cpu": cpu * GIB / found["bytes"]}
    if run.system.in_memory:
        return figures
    topic = run.topic(10)
    run.load("requests", topic=topic, partitions=10, connections=4, in_flight=4, records=16, seconds=run.seconds(5), warm_up=0)
    run.at_rest()
    run.system.stop()
    forget(run.system.dir)
    run.start()
    found, _ = run.load("read", topic=topic, partitions=10, connections=10)
    figures["read.cold"] = found["consumed"]
    return figures


def forget(directory):
    """Has the kernel drop what it holds of these files, for which they must be on the disk."""
    for path in pathlib.Path(directory).rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fdatasync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def many(run):
    """10,000 partitions: created, described, and one record for each."""
    run.start()
    found, _ = run.load("partitions", partitions=max(500, int(10_000 * min(1, run.scale * 2))), topic="many", value_bytes=100)
    return {"many.create": found["create"], "many.metadata": found["metadata"], "many.produce": found["produce"], "many.memory": run.usage.resident_mb()}


def transactions(run):
    """Transactions of ten partitions and 100 records, one after another."""
    run.start()
    found, _ = run.load("transactions", topic=run.topic(10), seconds=run.seconds(6), warm_up=run.seconds(4))
    return {"transaction.p50": found["p50"], "transaction.p99": found["p99"]}


def idle(run):
    """What doing nothing costs, ten seconds after a little was done."""
    run.start()
    run.at_rest()
    time.sleep(run.seconds(10))
    began, cpu, written = time.monotonic(), run.usage.cpu(), run.usage.written()
    time.sleep(max(2, run.seconds(15)))
    passed = time.monotonic() - began
    return {"idle.cpu": (run.usage.cpu() - cpu) / passed * 100, "idle.written": (run.usage.written() - written) / passed * 3600 / MIB}


WORKLOADS = {work.__name__: work for work in (librdkafka, java, small, latency, hot, shapes, readers, many, transactions, idle)}
# What the table of ratios is about.
MAIN = ["librdkafka", "java", "small", "latency", "hot"]


def run_one(name, run):
    """Figures of one workload."""
    try:
        return WORKLOADS[name](run)
    except Exception:
        print(f"{run.system.name}: its log ends:\n{run.system.log_tail()}", file=sys.stderr)
        raise
