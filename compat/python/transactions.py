"""Scenarios of transactions, and the exactly-once chain."""

import random
import threading
import time

from model import Fenced, Refused

from runner.client import SECONDS, control, expect, fresh_name, new_topic, wait_for

PARTITIONS = 3
LAST = b"the last"


class Transactions:
    def __init__(self, scenarios):
        self.s, self.client = scenarios, scenarios.client

    def producer(self, name=None):
        return self.client.producer(transactional_id=name or fresh_name("txn"))

    def marked(self, topic, partitions=1, committed=True):
        """The values of a topic to a mark that is set at its end now."""
        for partition in range(partitions):
            self.s.produce(topic, [LAST], partition=partition)
        return [record.value for record in self.s.read_until(topic, LAST, partitions, committed)]

    def commit(self):
        topics, producer = [new_topic(), new_topic()], self.producer()
        sent = [b"%d" % i for i in range(1000)]
        producer.begin()
        for value in sent:
            for topic in topics:
                producer.send(topic, value, partition=0)
        producer.commit()
        producer.close()
        for topic in topics:
            expect("values", self.marked(topic), sent)

    def abort(self):
        topic, producer = new_topic(), self.producer()
        for i in range(10):
            producer.begin()
            producer.send(topic, b"%d" % i, partition=0)
            expect("delivery errors", producer.flush(), [])
            if i % 2:
                producer.abort()
            else:
                producer.commit()
        producer.close()
        expect("read_committed", self.marked(topic), [b"%d" % i for i in range(0, 10, 2)])
        expect("read_uncommitted", self.marked(topic, committed=False), [b"%d" % i for i in range(10)])

    def read_committed(self):
        topic, producer = new_topic(), self.producer()
        self.s.produce(topic, [b"before"])
        producer.begin()
        producer.send(topic, b"within", partition=0)
        expect("delivery errors", producer.flush(), [])
        self.s.produce(topic, [b"behind"])
        reader, found = self.client.reader(topic, 1, committed=True), []
        try:
            wait_for("the first record", lambda: found.extend(reader.poll(0.2)) or found)
            # Long enough for a fetch that would bring more.
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                found.extend(reader.poll(0.2))
            expect("while the transaction is open", [r.value for r in found], [b"before"])
            producer.commit()
            wait_for("the others", lambda: found.extend(reader.poll(0.2)) or len(found) >= 3)
            expect("when it is committed", [r.value for r in found], [b"before", b"within", b"behind"])
        finally:
            reader.close()
            producer.close()

    def offsets(self):
        topic, other, group, producer = new_topic(), new_topic(), fresh_name("group"), self.producer()
        for offset, commits in ((3, True), (4, False), (5, True)):
            before = self.client.committed(group, topic, 0)[0]
            producer.begin()
            producer.send(other, b"%d" % offset, partition=0)
            producer.send_offsets({(topic, 0): offset}, group)
            if commits:
                producer.commit()
            else:
                producer.abort()
            expect("committed", self.client.committed(group, topic, 0)[0], offset if commits else before)
        producer.close()

    def fencing(self):
        topic, name = new_topic(), fresh_name("txn")
        first = self.producer(name)
        first.begin()
        first.send(topic, b"first", partition=0)
        expect("delivery errors", first.flush(), [])
        second = self.producer(name)
        second.begin()
        second.send(topic, b"second", partition=0)
        try:
            first.commit()
            raise AssertionError("the first producer could commit")
        except Fenced as e:
            said = str(e)
        second.commit()
        second.close()
        expect("values", self.marked(topic), [b"second"])
        return said.split(":")[0]

    # --- the chain ---

    def feed(self, topic, counts):
        """Numbers into every partition, for as long as scenarios last; acknowledged or sent again."""
        producer, until = self.client.producer(idempotent=True), time.monotonic() + SECONDS
        while time.monotonic() < until:
            for partition in range(PARTITIONS):
                producer.send(topic, b"%d" % counts[partition], partition=partition)
                counts[partition] += 1
            time.sleep(0.01)
        expect("delivery errors of the feeder", producer.flush(), [])
        producer.close()

    def worker(self, name, group, source, sink, done, tally):
        """Consumes, transforms and produces until all is done; what fails is aborted and done again."""
        chance = random.Random(name)
        while not done.is_set():
            producer = member = None
            try:
                producer = self.producer(name)
                member = self.client.member(group, source, read=False, commits=False)
                while not done.is_set():
                    self.step(producer, member, group, sink, chance, tally)
            except Refused as e:
                tally["started anew"] += 1
                tally.setdefault("reasons", set()).add(str(e).split(":")[0])
            finally:
                for thing in (member, producer):
                    if thing:
                        thing.close()

    def step(self, producer, member, group, sink, chance, tally):
        records = member.poll(0.2)
        if not records:
            return
        try:
            producer.begin()
            for r in records:
                producer.send(sink, b"<%s>" % r.value, key=b"%d" % r.offset, partition=r.partition)
            if chance.random() < 0.2:
                producer.flush()
                producer.abort()
                tally["aborted"] += 1
                member.rewind()
                return
            producer.send_offsets({(member.topic, r.partition): r.offset + 1 for r in records}, group, member)
            producer.commit()
            tally["committed"] += 1
        except Fenced:
            raise
        except Refused as e:
            tally["failed"] += 1
            tally.setdefault("reasons", set()).add(str(e).split(":")[0])
            producer.abort()
            member.rewind()

    def chain(self):
        source, sink, group = new_topic(PARTITIONS), new_topic(PARTITIONS), fresh_name("group")
        counts, done = [0] * PARTITIONS, threading.Event()
        tally = {"committed": 0, "aborted": 0, "failed": 0, "started anew": 0, "broker killed": 0}
        errors = []

        def guarded(function, *arguments):
            def body():
                try:
                    function(*arguments)
                except Exception as e:
                    errors.append(e)

            thread = threading.Thread(target=body, daemon=True)
            thread.start()
            return thread

        feeder = guarded(self.feed, source, counts)
        workers = [guarded(self.worker, fresh_name("chain"), group, source, sink, done, tally) for _ in range(2)]
        try:
            while feeder.is_alive():
                feeder.join(3)
                control("crash")
                tally["broker killed"] += 1

            def all_consumed():
                if errors:
                    raise errors[0]
                return [self.client.committed(group, source, p)[0] for p in range(PARTITIONS)] == counts or time.sleep(0.2)

            wait_for(lambda: f"the chain's end {tally}", all_consumed, 90)
        finally:
            done.set()
            for thread in workers:
                thread.join(30)
        for partition in range(PARTITIONS):
            self.s.produce(sink, [LAST], partition=partition)
        got = self.s.read_until(sink, LAST, PARTITIONS)
        for partition in range(PARTITIONS):
            mine = [r for r in got if r.partition == partition]
            offsets, wanted = [int(r.key) for r in mine], list(range(counts[partition]))
            expect(f"missing in partition {partition}", sorted(set(wanted) - set(offsets))[:10], [])
            expect(f"doubled in partition {partition}", len(offsets) - len(set(offsets)), 0)
            expect(f"in order in partition {partition}", offsets == wanted, True)
            expect("transformed", [r.value for r in mine] == [b"<%d>" % i for i in wanted], True)
        reasons = " ".join(sorted(tally.pop("reasons", set())))
        return f"{sum(counts)} records; " + ", ".join(f"{n} {what}" for what, n in tally.items()) + (f" ({reasons})" if reasons else "")


def scenarios(shared):
    t = Transactions(shared)
    return [
        ("txn.commit", t.commit),
        ("txn.abort", t.abort),
        ("txn.read-committed", t.read_committed),
        ("txn.offsets", t.offsets),
        ("txn.fencing", t.fencing),
        ("eos.chain", t.chain),
    ]
