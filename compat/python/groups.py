"""Scenarios of groups. Members read in threads of their own; see model.Member."""

import json
import os
import pathlib
import subprocess
import sys
import time

from runner.client import NotAvailable, control, expect, fresh_name, new_topic, wait_for

PARTITIONS = 6
# Longer than any wait here: what is taken over was not taken over because a session ended.
SESSION_MS = 60_000
AT_ONCE_S = 40


def owned(members):
    """What each owns, once no partition has two owners and none has no owner; else None."""
    all_owned = [frozenset(m.owned) for m in members]
    flat = [p for one in all_owned for p in one]
    return all_owned if sorted(flat) == list(range(PARTITIONS)) and all(all_owned) else None


class Groups:
    def __init__(self, scenarios):
        self.s, self.client = scenarios, scenarios.client

    def settled(self, members, seconds=60):
        def what():
            failed = [str(m.failed) for m in members if m.failed]
            return f"each partition with one owner, {[sorted(m.owned) for m in members]} {failed}"

        found = wait_for(what, lambda: owned(members), seconds)
        return [set(one) for one in found]

    def feed(self, topic, first, count):
        """Values first to first + count - 1, over all partitions; answers them all so far."""
        producer = self.client.producer()
        for i in range(first, first + count):
            producer.send(topic, b"%d" % i, partition=i % PARTITIONS)
        expect("delivery errors", producer.flush(), [])
        producer.close()
        return list(range(first + count))

    def each_once(self, records, wanted, members=()):
        def what():
            failed = [str(m.failed) for m in members if m.failed]
            return f"{len(records)} of {len(wanted)} records came {failed}"

        wait_for(what, lambda: len(records) >= len(wanted))
        expect("records", sorted(int(r.value) for r in records), wanted)

    def members(self, count, group, topic, records, **options):
        """Join one after the other, each when the others have settled."""
        found = []
        for i in range(count):
            found.append(self.client.member(group, topic, records=records, **({"session_ms": SESSION_MS} | options)))
            self.settled(found)
        return found

    def close(self, members):
        for member in members:
            member.close()

    def need(self, protocol):
        if protocol not in self.client.protocols:
            raise NotAvailable(f"this client has no {'KIP-848' if protocol == 'kip848' else protocol} members")

    def join(self, protocol="eager"):
        topic, group, records = new_topic(PARTITIONS), fresh_name("group"), []
        members = self.members(3, group, topic, records, protocol=protocol)
        try:
            expect("sizes", [len(m.owned) for m in members], [2, 2, 2])
            self.each_once(records, self.feed(topic, 0, 600))
            # DescribeGroups knows classic groups only.
            expect("the group is a classic one", control("group", group)["state"] != "Dead", protocol != "kip848")
        finally:
            self.close(members)

    def leave(self, protocol="eager"):
        topic, group, records = new_topic(PARTITIONS), fresh_name("group"), []
        members = self.members(3, group, topic, records, protocol=protocol)
        try:
            self.each_once(records, self.feed(topic, 0, 600))
            began = time.monotonic()
            members.pop().close()
            self.settled(members, AT_ONCE_S)
            took = time.monotonic() - began
            self.each_once(records, self.feed(topic, 600, 600))
        finally:
            self.close(members)
        return f"taken over after {took * 1000:.0f} ms"

    def kip848(self):
        self.need("kip848")
        self.join("kip848")
        return self.leave("kip848")

    def rolling(self):
        """Member by member, each new one beside the old ones, to KIP-848 and back."""
        self.need("kip848")
        topic, group, records, count = new_topic(PARTITIONS), fresh_name("group"), [], 0
        members = self.members(2, group, topic, records)
        try:
            for protocol in ("kip848", "eager"):
                for _ in range(2):
                    members.append(self.client.member(group, topic, records=records, protocol=protocol, session_ms=SESSION_MS))
                    self.settled(members)
                    self.each_once(records, self.feed(topic, count, 300), members)
                    # While a member of the new protocol is there the group is no classic one.
                    expect("the group is a classic one", control("group", group)["state"] != "Dead", False)
                    members.pop(0).close()
                    self.settled(members)
                    self.each_once(records, self.feed(topic, count + 300, 300), members)
                    count += 600
                classic = control("group", group)["state"] != "Dead"
                expect("the group is a classic one", classic, protocol == "eager")
        finally:
            self.close(members)

    def grow(self):
        if not getattr(self.client, "refreshes", False):
            raise NotAvailable("this client's members cannot be told how often to look at topics")
        topic, group, records = new_topic(PARTITIONS // 2), fresh_name("group"), []
        members = [self.client.member(group, topic, records=records, session_ms=SESSION_MS, metadata_ms=1000) for _ in range(2)]
        try:
            wait_for(
                lambda: f"half of the partitions, {[sorted(m.owned) for m in members]} {[str(m.failed) for m in members if m.failed]}",
                lambda: sorted(p for m in members for p in m.owned) == list(range(PARTITIONS // 2)),
            )
            control("grow", topic, PARTITIONS)
            began = time.monotonic()
            # Before anybody knows of them.
            everything = self.feed(topic, 0, 300)
            self.settled(members)
            took = time.monotonic() - began
            self.each_once(records, everything, members)
        finally:
            self.close(members)
        return f"known after {took:.1f} s"

    def kill(self):
        topic, group, records = new_topic(PARTITIONS), fresh_name("group"), []
        member = self.client.member(group, topic, records=records, session_ms=6000)
        harness = pathlib.Path(__file__).with_name("harness")
        child = subprocess.Popen([harness, "member", group, topic], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            theirs = set()
            for line in child.stdout:
                theirs = set(json.loads(line))
                if len(theirs) == PARTITIONS // 2:
                    break
            wait_for(lambda: f"the other half, {member.owned}", lambda: len(member.owned) == PARTITIONS // 2)
            expect("in both or neither", member.owned ^ theirs, set(range(PARTITIONS)))
            began = time.monotonic()
            child.kill()
            self.settled([member])
            took = time.monotonic() - began
            self.each_once(records, self.feed(topic, 0, 600))
        finally:
            child.kill()
            child.wait()
            member.close()
        expect("not before the session's end", took > 3, True)
        return f"taken over after {took:.1f} s, the session was 6 s"

    def cooperative(self):
        self.need("cooperative")
        topic, group, records = new_topic(PARTITIONS), fresh_name("group"), []
        members = self.members(2, group, topic, records, protocol="cooperative")
        try:
            before = [set(m.owned) for m in members]
            seen = [len(m.events) for m in members]
            members.append(self.client.member(group, topic, records=records, protocol="cooperative", session_ms=SESSION_MS))
            after = self.settled(members)
            for i in range(2):
                given = set().union(*(partitions for kind, partitions in members[i].events[seen[i] :] if kind == "revoked"))
                expect(f"what member {i} gave up", given, before[i] - after[i])
            self.each_once(records, self.feed(topic, 0, 600))
        finally:
            self.close(members)

    def static(self):
        topic, group, records = new_topic(PARTITIONS), fresh_name("group"), []
        members = [self.client.member(group, topic, records=records, instance=i, session_ms=SESSION_MS) for i in ("a", "b")]
        try:
            before = self.settled(members)
            self.each_once(records, self.feed(topic, 0, 600))
            seen = len(members[0].events)
            members.pop().close()
            members.append(self.client.member(group, topic, records=records, instance="b", session_ms=SESSION_MS))
            after = self.settled(members)
            expect("partitions", after, before)
            self.each_once(records, self.feed(topic, 600, 600))
            expect("what the other member noticed", members[0].events[seen:], [])
        finally:
            self.close(members)

    def offsets(self):
        topic, group = new_topic(), fresh_name("group")
        self.s.produce(topic, [b"%d" % i for i in range(10)])
        expect("no commit", self.client.committed(group, topic, 0), (-1, ""))
        self.client.commit(group, topic, 0, 5, "a note")
        note = "a note" if getattr(self.client, "metadata_of_commits", True) else ""
        expect("commit", self.client.committed(group, topic, 0), (5, note))
        expect("another group", self.client.committed(fresh_name("group"), topic, 0), (-1, ""))

        def starts(at, in_group, reset, and_then=None):
            member = self.client.member(in_group, topic, reset=reset, commits=False)
            try:
                wait_for(lambda: f"an assignment {member.failed}", lambda: member.owned)
                while and_then and not member.records:
                    self.s.produce(topic, [and_then])
                    time.sleep(0.1)
                wait_for("a record", lambda: member.records)
                expect(f"first of {reset}", member.records[0].offset if not and_then else member.records[0].value, at)
            finally:
                member.close()

        starts(5, group, "earliest")
        starts(0, fresh_name("group"), "earliest")
        starts(b"new", fresh_name("group"), "latest", b"new")
        self.client.commit(group, topic, 0, 2)
        starts(2, group, "earliest")

    def restart(self):
        topic, group, records = new_topic(PARTITIONS), fresh_name("group"), []
        # Longer than a restart of Apache Kafka takes.
        members = self.members(2, group, topic, records, session_ms=4 * SESSION_MS)
        try:
            self.each_once(records, self.feed(topic, 0, 300))
            seen, ids = [list(m.events) for m in members], control("group", group)
            for how in ("restart", "crash"):
                control(how)
                so_far = len(records)
                self.each_once(records, self.feed(topic, so_far, 300), members)
            self.settled(members)
            expect("members", control("group", group), ids)
            if self.client.rejoins:
                return "this client's members join again by themselves, under their old ids"
            expect("what they noticed", [m.events for m in members], seen)
        finally:
            self.close(members)


def child(client, group, topic):
    """A member that says what it owns, until it is killed."""
    member = client.member(group, topic, session_ms=6000)
    said = None
    while not member.failed and os.getppid() != 1:
        if said != (now := sorted(member.owned)):
            print(json.dumps(now), flush=True)
            said = now
        time.sleep(0.05)
    sys.exit(f"the member failed: {member.failed}")


def scenarios(shared):
    g = Groups(shared)
    return [
        ("group.join", g.join),
        ("group.leave", g.leave),
        ("group.kill", g.kill),
        ("group.cooperative", g.cooperative),
        ("group.static", g.static),
        ("group.kip848", g.kip848),
        ("group.rolling", g.rolling),
        ("group.grow", g.grow),
        ("group.offsets", g.offsets),
        ("group.restart", g.restart),
    ]
