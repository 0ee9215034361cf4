"""Scenarios of where a consumer is: seeking, pausing, and topics that change under it."""

import time

from model import ORIGIN_MS, Refused

from runner.client import expect, fresh_name, new_topic, wait_for


def numbers(count):
    return [b"%d" % i for i in range(count)]


class Positions:
    def __init__(self, scenarios):
        self.s, self.client = scenarios, scenarios.client

    def until(self, reader, *values):
        """Reads on until all those came, in that order. What was on its way before a seek does not count."""
        left = list(values)

        def all_came():
            for r in reader.poll(0.2):
                if left and r.value == left[0]:
                    left.pop(0)
            return not left

        wait_for(lambda: f"the record {left[0]}", all_came)

    def seek_offset(self):
        topic = new_topic()
        self.s.produce(topic, numbers(100))
        reader = self.client.reader(topic, 1)
        try:
            self.until(reader, b"99")
            reader.seek(0, 40)
            self.until(reader, b"40", b"99")
            reader.seek(0, "beginning")
            self.until(reader, b"0")
            reader.seek(0, "end")
            for _ in range(3):
                reader.poll(0.2)
            self.s.produce(topic, [b"new"])
            self.until(reader, b"new")
        finally:
            reader.close()

    def seek_time(self):
        topic, producer = new_topic(), self.client.producer()
        for i in range(10):
            producer.send(topic, b"%d" % i, partition=0, timestamp_ms=ORIGIN_MS + 1000 * i)
        expect("delivery errors", producer.flush(), [])
        producer.close()
        reader, got = self.client.reader(topic, 1), []
        try:
            self.until(reader, b"9")
            reader.seek(0, self.client.offset_at(topic, 0, ORIGIN_MS + 6500))
            wait_for("three records", lambda: got.extend(reader.poll(0.2)) or len(got) >= 3)
        finally:
            reader.close()
        expect("values", [r.value for r in got], [b"7", b"8", b"9"])

    def pause_resume(self):
        topic, got = new_topic(2), [[], []]
        reader = self.client.reader(topic, 2)

        def more():
            for r in reader.poll(0.2):
                got[r.partition].append(r.value)
            return got

        try:
            for p in (0, 1):
                self.s.produce(topic, [b"first"], partition=p)
            wait_for("the first records", lambda: all(more()))
            reader.pause([0])
            for p in (0, 1):
                self.s.produce(topic, numbers(20), partition=p)
            wait_for("the records of the other partition", lambda: len(more()[1]) == 21)
            expect("of the paused partition", got[0], [b"first"])
            reader.resume([0])
            wait_for("the records of the resumed partition", lambda: len(more()[0]) == 21)
        finally:
            reader.close()
        expect("each once, in order", got, [[b"first", *numbers(20)]] * 2)

    def recreated(self):
        topic, records, admin = new_topic(), [], self.client.admin
        member = self.client.member(fresh_name("group"), topic, records=records, metadata_ms=1000)
        values = lambda: [r.value for r in records]  # noqa: E731
        try:
            self.s.produce(topic, [b"old"])
            wait_for("the old record", lambda: b"old" in values())
            admin.remove(topic)

            def made():
                """By us, or by the consumer's own question for it."""
                try:
                    admin.create(topic)
                    return True
                except Refused as e:
                    time.sleep(0.1)
                    return "exist" in str(e).lower()

            wait_for("its return", made)

            def new():
                self.s.produce(topic, [b"new"])
                time.sleep(0.2)
                return b"new" in values()

            wait_for(lambda: f"a new record, {values()} {member.failed}", new, 90)
        finally:
            member.close()


def scenarios(shared):
    p = Positions(shared)
    return [
        ("seek.offset", p.seek_offset),
        ("seek.time", p.seek_time),
        ("pause.resume", p.pause_resume),
        ("topic.recreated", p.recreated),
    ]
