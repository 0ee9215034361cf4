"""The scenarios of scenarios.txt, for every client that model.py describes."""

import random
import threading
import time

import admin
import groups
import positions
import transactions
from model import ORIGIN_MS, Refused

from runner.client import Harness, control, expect, fresh_name, new_topic, wait_for

READ_S = 60


def numbered(count, width=0):
    return [b"record %08d %s" % (i, b"x" * width) for i in range(count)]


class Scenarios:
    """What scenarios share: one client and the verbs that nearly all need."""

    def __init__(self, client):
        self.client = client

    def produce(self, topic, values, partition=0, **options):
        """Sends them all and insists that each arrives."""
        producer = self.client.producer(**options)
        for value in values:
            producer.send(topic, value, partition=partition)
        errors = producer.flush()
        producer.close()
        expect("delivery errors", errors, [])

    def read(self, topic, partitions=1, starts=None, ends=None):
        """Everything from the starts to the ends, and nothing after that."""
        ends = ends or self.client.ends(topic, partitions)
        starts = starts or {}
        missing = {p for p, end in enumerate(ends) if end > starts.get(p, 0)}
        reader, found, deadline = self.client.reader(topic, partitions, starts), [], time.monotonic() + READ_S
        try:
            while missing:
                if time.monotonic() > deadline:
                    raise AssertionError(f"partitions {sorted(missing)} did not end within {READ_S} s; {len(found)} records came")
                for record in reader.poll(0.2):
                    found.append(record)
                    if record.offset >= ends[record.partition] - 1:
                        missing.discard(record.partition)
        finally:
            reader.close()
        return found

    def values(self, topic):
        return [record.value for record in self.read(topic)]

    def read_until(self, topic, last, partitions=1, committed=True):
        """Everything up to the value `last`, which each partition has."""
        reader, found, missing = self.client.reader(topic, partitions, committed=committed), [], set(range(partitions))
        deadline = time.monotonic() + READ_S
        try:
            while missing:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{last} did not come in partitions {sorted(missing)} within {READ_S} s; {len(found)} records came")
                for record in reader.poll(0.2):
                    found.append(record)
                    if record.value == last:
                        missing.discard(record.partition)
        finally:
            reader.close()
        return [record for record in found if record.value != last]

    # --- basic ---

    def metadata_all(self):
        topic = new_topic(3)
        brokers, topics = self.client.metadata()
        from runner.client import BOOTSTRAP

        expect("brokers", brokers, [BOOTSTRAP])
        expect("partitions", len(topics.get(topic, [])), 3)

    def metadata_by_name(self):
        topic, other = new_topic(3), new_topic(1)
        _, topics = self.client.metadata(topic)
        expect("topics", list(topics), [topic])
        expect("leaders", len(set(topics[topic])), 1)
        return f"did not list {other}"

    def codec(self, name):
        topic, sent = new_topic(), numbered(10_000, 100)
        self.produce(topic, sent, codec=name, linger_ms=50)
        expect("values", self.values(topic) == sent, True)
        stored = control("batches", topic, 0)
        expect("codecs stored", {b["codec"] for b in stored}, {name})
        return f"{len(stored)} batches"

    def shapes(self):
        topic, at = new_topic(), ORIGIN_MS
        headers = [("a", b"1"), ("a", b"2"), ("empty", b"")] + ([("null", None)] if self.client.null_headers else [])
        sides, producer = [None, b"", b"text"], self.client.producer()
        sent = [(key, value) for key in sides for value in sides]
        if not self.client.empty_records:
            sent.remove((None, None))
        for key, value in sent:
            producer.send(topic, value, key=key, partition=0, headers=headers, timestamp_ms=at)
        expect("delivery errors", producer.flush(), [])
        producer.close()
        got = self.read(topic)
        expect("records", [(r.key, r.value) for r in got], sent)
        expect("timestamps", {r.timestamp_ms for r in got}, {at})
        for record in got:
            expect("headers", [tuple(h) for h in record.headers], headers)
        none = [] if self.client.empty_records else ["record with neither key nor value"]
        none += [] if self.client.null_headers else ["null header"]
        return f"this client sends no {' and no '.join(none)}" if none else ""

    def keys(self):
        topic, producer = new_topic(8), self.client.producer()
        for i in range(1000):
            producer.send(topic, b"%d" % i, key=b"key-%d" % (i % 100))
        expect("delivery errors", producer.flush(), [])
        producer.close()
        got = self.read(topic, 8)
        expect("records", sorted(int(r.value) for r in got), list(range(1000)))
        homes = {}
        for record in got:
            homes.setdefault(record.key, set()).add(record.partition)
        expect("keys in more than one partition", [k for k, where in homes.items() if len(where) > 1], [])
        expect("partitions used", len(set().union(*homes.values())), 8)

    def acks(self, level):
        topic, sent = new_topic(), numbered(1000)
        self.produce(topic, sent, acks=level)
        # Nobody told the producer with acks=0 when its records were there.
        wait_for("1000 records", lambda: self.client.ends(topic, 1)[0] >= 1000)
        expect("values", self.values(topic), sent)

    def idempotent(self):
        topic, sent = new_topic(), numbered(5000)
        self.produce(topic, sent, idempotent=True, records=100)
        expect("values", self.values(topic) == sent, True)
        stored = control("batches", topic, 0)
        expect("batches without a producer id", [b for b in stored if b["producer_id"] < 0], [])
        expect("producer ids", len({b["producer_id"] for b in stored}), 1)
        return f"{len(stored)} batches"

    def spaced(self):
        """Eight records a second apart, in batches of two; answers the topic."""
        topic = new_topic()
        for batch in range(4):
            producer = self.client.producer(linger_ms=50)
            for i in (2 * batch, 2 * batch + 1):
                producer.send(topic, b"at %d" % i, partition=0, timestamp_ms=ORIGIN_MS + 1000 * i)
            expect("delivery errors", producer.flush(), [])
            producer.close()
        return topic

    def time_lookup(self):
        topic = self.spaced()
        for i in range(8):
            at = ORIGIN_MS + 1000 * i
            expect(f"the timestamp of offset {i}", self.client.offset_at(topic, 0, at), i)
            expect(f"just before that of offset {i}", self.client.offset_at(topic, 0, at - 1), i)
        expect("after the last", self.client.offset_at(topic, 0, ORIGIN_MS + 7001), -1)

    def time_start(self):
        topic = self.spaced()
        start = self.client.offset_at(topic, 0, ORIGIN_MS + 4500)
        got = self.read(topic, starts={0: start})
        expect("records", [(r.offset, r.timestamp_ms) for r in got], [(i, ORIGIN_MS + 1000 * i) for i in (5, 6, 7)])

    def one_megabyte(self):
        topic = new_topic()
        sent = [bytes((at * 31 ^ i) & 255 for at in range(1000)) * 1000 for i in range(5)]
        self.produce(topic, sent, max_bytes=1_048_576)
        expect("bodies", self.values(topic) == sent, True)

    def too_large(self):
        # An idempotent producer of some clients ends with such an error.
        topic, producer = new_topic(), self.client.producer(codec="none", max_bytes=4_000_000, idempotent=False)
        producer.send(topic, b"x" * 2_000_000, partition=0)
        expect("errors", producer.flush(), [self.client.too_large])
        producer.send(topic, b"small", partition=0)
        expect("errors", producer.flush(), [])
        producer.close()
        expect("values", self.values(topic), [b"small"])
        return self.client.too_large

    def many_partitions(self):
        topic, sent, producer = new_topic(200), numbered(20_000), self.client.producer(idempotent=True)
        for i, value in enumerate(sent):
            producer.send(topic, value, partition=i % 200)
        expect("delivery errors", producer.flush(), [])
        producer.close()
        got = {}
        for record in self.read(topic, 200, ends=[100] * 200):
            got.setdefault(record.partition, []).append(record.value)
        expect("records", got == {p: sent[p::200] for p in range(200)}, True)
        expect("ends", self.client.ends(topic, 200), [100] * 200)
        expect("partitions listed", len(self.client.metadata(topic)[1][topic]), 200)

    def tail(self):
        topic = new_topic()
        reader, producer, slowest = self.client.reader(topic, 1), self.client.producer(linger_ms=0), 0
        try:
            for i in range(20):
                producer.send(topic, b"record %d" % i, partition=0)
                expect("delivery errors", producer.flush(), [])
                acknowledged = time.monotonic()
                got = wait_for("the record", lambda: reader.poll(1))
                expect("values", [r.value for r in got], [b"record %d" % i])
                # The first one waits for the reader's start.
                slowest = max(slowest, time.monotonic() - acknowledged) if i else 0
        finally:
            reader.close()
            producer.close()
        expect("the slowest within five seconds of its acknowledgement", slowest < 5, True)
        return f"slowest of 19: {slowest * 1000:.0f} ms after its acknowledgement"

    def auto_create_on(self):
        topic = fresh_name("compat-auto")
        self.produce(topic, [b"made by use"], partition=None)
        expect("values", self.values(topic), [b"made by use"])

    def auto_create_off(self):
        control("settings", "auto.create.topics.enable=false")
        try:
            topic, producer = fresh_name("compat-auto"), self.client.producer(metadata_ms=2000)
            try:
                producer.send(topic, b"nowhere")
                errors = producer.flush()
            except Refused as e:
                errors = [str(e).split(":")[0]]
            expect(f"one error, and of an unknown topic ({errors})", len(errors) == 1 and errors[0] in self.client.unknown_topic, True)
            producer.close()
            expect("the topic was made", topic in self.client.metadata()[1], False)
        finally:
            control("settings")
        return errors[0]

    def restart(self, how):
        """One long-lived idempotent producer; the broker goes away in the middle of its records."""
        topic, sent, going = new_topic(), numbered(6000), []
        producer = self.client.producer(idempotent=True, records=50)
        failed = []

        def go():
            try:
                control(how)
            except Exception as e:
                failed.append(e)

        for i, value in enumerate(sent):
            if i in (1500, 3600):
                for thread in going:
                    thread.join()
                going.append(threading.Thread(target=go))
                going[-1].start()
            producer.send(topic, value, partition=0)
        for thread in going:
            thread.join()
        expect("restarts that failed", failed, [])
        expect("delivery errors", producer.flush(), [])
        producer.close()
        got = self.values(topic)
        expect("lost", len(set(sent) - set(got)), 0)
        expect("doubled", len(got) - len(set(got)), 0)
        expect("in order", got == sent, True)
        return "two restarts"


def child(client, group, topic):
    """What group.kill kills: a member in a process of its own, which says what it owns."""
    groups.child(client, group, topic)


def run(client):
    random.seed(20)
    harness, s = Harness(client.name, client.version), Scenarios(client)
    basic = [
        ("metadata.all", s.metadata_all),
        ("metadata.by-name", s.metadata_by_name),
        *((f"codec.{name}", s.codec, name) for name in ("none", "gzip", "snappy", "lz4", "zstd")),
        ("records.shapes", s.shapes),
        ("keys.partitions", s.keys),
        *((f"acks.{level}", s.acks, level) for level in ("0", "1", "all")),
        ("idempotent", s.idempotent),
        ("time.lookup", s.time_lookup),
        ("time.start", s.time_start),
        ("records.1mb", s.one_megabyte),
        ("records.too-large", s.too_large),
        ("partitions.many", s.many_partitions),
        ("consume.tail", s.tail),
        ("auto-create.on", s.auto_create_on),
        ("auto-create.off", s.auto_create_off),
        ("restart.clean", s.restart, "restart"),
        ("restart.crash", s.restart, "crash"),
    ]
    for name, function, *arguments in basic + [one for area in (groups, transactions, positions, admin) for one in area.scenarios(s)]:
        harness.scenario(name, *arguments)(function)
    for name, reason in client.unavailable.items():
        harness.absent(reason, name)
    harness.run()
