"""kcat's scenarios of positions, administration, errors and groups, as far as its command line has them."""

import contextlib
import json
import re
import subprocess
import threading
import time

from runner.client import BOOTSTRAP, control, expect, fresh_name, new_topic, wait_for

PARTITIONS = 6
# Longer than any wait here: what is taken over was not taken over because a session ended.
SESSION_MS = 60_000


def numbers(count, first=0):
    return [b"%d" % i for i in range(first, first + count)]


class Member:
    """`kcat -G`: its records are lines, and what it is assigned it says on standard error."""

    def __init__(self, group, topic, session_ms=SESSION_MS, settings=()):
        command = ["kcat", "-b", BOOTSTRAP, "-E", "-u", "-f", "%p %o %s\n", "-G", group, topic]
        wanted = {"session.timeout.ms": session_ms, "heartbeat.interval.ms": 500, "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200}
        wanted |= {"reconnect.backoff.max.ms": 200, "topic.metadata.refresh.interval.ms": 1000} | dict(settings)
        for name, value in wanted.items():
            command[1:1] = ["-X", f"{name}={value}"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.owned, self.events, self.values, self.said = set(), [], [], []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.values.append(int(line.split()[2]))

    def _listen(self):
        for line in self.process.stderr:
            self.said.append(line.strip())
            if found := re.search(r"rebalanced.*?: (?:incremental )?(assign|revoke)", line):
                partitions = {int(p) for p in re.findall(r"\[(\d+)\]", line.split("):")[-1])}
                given = found.group(1) == "assign"
                self.events.append(("assigned" if given else "revoked", partitions))
                self.owned = self.owned | partitions if given else self.owned - partitions

    def end(self, kill=False):
        """Ctrl-C, as a person would, or kill -9."""
        self.process.kill() if kill else self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()


@contextlib.contextmanager
def members(*made):
    made = list(made)
    try:
        yield made
    finally:
        for member in made:
            member.end()


def settled(made, seconds=60):
    """Waits until each partition has one owner and each member a partition; answers what each has."""

    def owned():
        flat = sorted(p for m in made for p in m.owned)
        return all(m.owned for m in made) and flat == list(range(PARTITIONS)) and [set(m.owned) for m in made]

    return wait_for(lambda: f"each partition with one owner, {[sorted(m.owned) for m in made]} {[m.said[-2:] for m in made]}", owned, seconds)


def scenarios(harness, kcat, produce, consume):
    def feed(topic, first, count):
        for p in range(PARTITIONS):
            produce(topic, [b"%d" % i for i in range(first, first + count) if i % PARTITIONS == p], partition=p)
        return first + count

    def each_once(made, count, gone=()):
        def came():
            return sorted(v for m in [*made, *gone] for v in m.values)

        wait_for(lambda: f"{len(came())} of {count} records came; {[m.said[-2:] for m in made]}", lambda: len(came()) >= count)
        expect("records", came(), list(range(count)))

    def joined(count, topic, group, **options):
        made = []
        for _ in range(count):
            made.append(Member(group, topic, **options))
            settled(made)
        return made

    @harness.scenario("group.join")
    def join():
        topic, group = new_topic(PARTITIONS), fresh_name("group")
        with members(*joined(3, topic, group)) as made:
            expect("sizes", [len(m.owned) for m in made], [2, 2, 2])
            each_once(made, feed(topic, 0, 600))

    @harness.scenario("group.leave")
    def leave():
        topic, group = new_topic(PARTITIONS), fresh_name("group")
        with members(*joined(3, topic, group)) as made:
            each_once(made, feed(topic, 0, 600))
            gone, began = made.pop(), time.monotonic()
            gone.end()
            settled(made, 30)
            took = time.monotonic() - began
            each_once(made, feed(topic, 600, 600), [gone])
        return f"taken over after {took:.1f} s"

    @harness.scenario("group.kill")
    def killed():
        topic, group = new_topic(PARTITIONS), fresh_name("group")
        with members(*joined(2, topic, group, session_ms=6000)) as made:
            gone, began = made.pop(), time.monotonic()
            gone.end(kill=True)
            settled(made)
            took = time.monotonic() - began
            each_once(made, feed(topic, 0, 600))
        expect("not before the session's end", took > 3, True)
        return f"taken over after {took:.1f} s, the session was 6 s"

    @harness.scenario("group.cooperative")
    def cooperative():
        topic, group = new_topic(PARTITIONS), fresh_name("group")
        settings = {"partition.assignment.strategy": "cooperative-sticky"}
        with members(*joined(2, topic, group, settings=settings)) as made:
            before, seen = settled(made), [len(m.events) for m in made]
            made.append(Member(group, topic, settings=settings))
            after = settled(made)
            for i in (0, 1):
                given = {p for kind, partitions in made[i].events[seen[i] :] if kind == "revoked" for p in partitions}
                expect(f"what member {i} gave up", given, before[i] - after[i])
            each_once(made, feed(topic, 0, 600))

    @harness.scenario("group.static")
    def static():
        topic, group = new_topic(PARTITIONS), fresh_name("group")
        with members(*(Member(group, topic, settings={"group.instance.id": name}) for name in "ab")) as made:
            before, seen = settled(made), len(made[0].events)
            each_once(made, feed(topic, 0, 600))
            gone = made.pop()
            gone.end()
            made.append(Member(group, topic, settings={"group.instance.id": "b"}))
            expect("partitions", settled(made), before)
            each_once(made, feed(topic, 600, 600), [gone])
            expect("what the other member noticed", made[0].events[seen:], [])

    @harness.scenario("group.grow")
    def grow():
        topic, group = new_topic(PARTITIONS // 2), fresh_name("group")
        with members(Member(group, topic), Member(group, topic)) as made:
            wait_for("half of the partitions", lambda: sorted(p for m in made for p in m.owned) == [0, 1, 2])
            control("grow", topic, PARTITIONS)
            count = feed(topic, 0, 300)
            settled(made)
            each_once(made, count)

    @harness.scenario("group.offsets")
    def offsets():
        """Without metadata and resets: what a group has read it does not read again; another one does."""
        topic, group = new_topic(), fresh_name("group")
        produce(topic, numbers(10))
        # With -c it commits what it has shown.
        first = kcat("-G", group, "-q", "-c", "5", "-X", "auto.offset.reset=earliest", topic)
        expect("the first five", first.split(), numbers(5))
        rest = kcat("-G", group, "-q", "-c", "5", "-X", "auto.offset.reset=earliest", topic)
        expect("the others", rest.split(), numbers(5, 5))
        other = kcat("-G", fresh_name("group"), "-q", "-c", "10", "-X", "auto.offset.reset=earliest", topic)
        expect("another group's", other.split(), numbers(10))
        return "commits without metadata; it resets nothing"

    @harness.scenario("group.restart")
    def restart():
        topic, group = new_topic(PARTITIONS), fresh_name("group")
        with members(*joined(2, topic, group, session_ms=4 * SESSION_MS)) as made:
            count = feed(topic, 0, 300)
            each_once(made, count)
            ids, seen = control("group", group), [len(m.events) for m in made]
            for how in ("restart", "crash"):
                control(how)
                count = feed(topic, count, 300)
                each_once(made, count)
            settled(made)
            expect("members", control("group", group), ids)
            expect("what they noticed", [len(m.events) for m in made], seen)

    harness.absent("this client has no KIP-848 members", "group.kip848", "group.rolling")

    @harness.scenario("seek.offset")
    def seek_offset():
        topic, sent = new_topic(), numbers(100)
        produce(topic, sent)
        expect("from 40", consume(topic, "-p", 0, start=40), sent[40:])
        expect("from the beginning", consume(topic, "-p", 0), sent)
        expect("from 10 before the end", consume(topic, "-p", 0, start=-10), sent[90:])
        expect("from the end", consume(topic, "-p", 0, start="end"), [])

    @harness.scenario("seek.time")
    def seek_time():
        topic = new_topic()
        for i in range(3):
            produce(topic, [b"at %d" % i])
            began = time.time_ns() // 1_000_000
            while time.time_ns() // 1_000_000 < began + 5:
                continue
        at = [int(line) for line in consume(topic, "-p", 0, form="%T\n")]
        expect("from the second", consume(topic, "-p", 0, start=f"s@{at[1]}"), [b"at 1", b"at 2"])
        expect("from just after the second", consume(topic, "-p", 0, start=f"s@{at[1] + 1}"), [b"at 2"])

    harness.absent("it reads until it is ended", "pause.resume")
    harness.absent("it deletes no topics", "topic.recreated")
    harness.absent("metadata is asked for by name", "metadata.by-id")
    harness.absent("it has no administration", "admin.topics", "admin.configs", "admin.partitions", "admin.delete-records", "admin.groups", "errors.configs")

    @harness.scenario("admin.offsets")
    def ends():
        topic = new_topic(2)
        produce(topic, numbers(3))
        said = kcat("-Q", "-t", f"{topic}:0:-1", "-t", f"{topic}:1:-1").decode()
        expect("ends", sorted(re.findall(r"\[(\d)\] offset (\d+)", said)), [("0", "3"), ("1", "0")])
        said = kcat("-Q", "-t", f"{topic}:0:-2").decode()
        expect("start", re.findall(r"offset (\d+)", said), ["0"])

    @harness.scenario("admin.cluster")
    def cluster():
        seen = json.loads(kcat("-L", "-J"))
        expect("brokers", [b["name"] for b in seen["brokers"]], [BOOTSTRAP])
        expect("the controller is a broker", seen["controllerid"] in [b["id"] for b in seen["brokers"]], True)
        return "it does not show the cluster's id"

    def said(*arguments, feed=b"nothing\n"):
        """Its last line on standard error, without names and moments."""
        done = subprocess.run(["kcat", "-b", BOOTSTRAP, *arguments], input=feed, capture_output=True, timeout=120)
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if re.match(r"% .*(ERROR|rror:|failed)", line)]
        # How often, and when, depends on the time that passes.
        return re.sub(r" \(after \d+ms.*", "", lines[-1] if lines else "no error").lstrip("% ").replace(BOOTSTRAP, "BROKER").replace(": ", " ").strip()

    @harness.scenario("errors.names")
    def names():
        wrong = {"a space": "a name", "one dot": ".", "250 letters": "n" * 250, "not ASCII": "größe"}
        short = ("-X", "message.timeout.ms=3000", "-X", "topic.metadata.propagation.max.ms=1000")
        return {case: said("-P", "-t", name, "-p", "0", *short).replace(name, "NAME") for case, name in wrong.items()}

    @harness.scenario("errors.topics")
    def topics():
        control("settings", "auto.create.topics.enable=false")
        try:
            return {
                "consume: unknown": said("-C", "-t", "nowhere", "-e"),
                "consume: no such partition": said("-C", "-t", new_topic(1), "-p", "7", "-e"),
                "offset: unknown": said("-Q", "-t", "nowhere:0:-1"),
            }
        finally:
            control("settings")

    @harness.scenario("errors.port")
    def port():
        return {"nobody listens": said("-L", "-m", "5", "-b", "127.0.0.1:1")}

    @harness.scenario("errors.advertised")
    def advertised():
        topic = new_topic()
        control("settings", "advertised.listeners=PLAINTEXT://127.0.0.1:1")
        try:
            return {"produce": said("-P", "-t", topic, "-p", "0", "-X", "message.timeout.ms=3000")}
        finally:
            control("settings")
