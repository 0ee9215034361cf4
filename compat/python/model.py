"""What the scenarios ask of a client, so that they are written once: see client_*.py.

A client is a module-level CLIENT with

    name, version
    unavailable                     scenario -> reason, for what the client does not have
    protocols                       of group members: "eager", "cooperative", "kip848"
    refreshes                       whether members take metadata_ms (how often to look at topics); False if not there
    rejoins                         whether a member joins again, under its own id, when its connection breaks
    metadata(topic=None)            ([address], {topic: [leader]})
    producer(**options)             a Producer; options: codec, acks, idempotent, linger_ms, records (in
                                    a batch), max_bytes, transactional_id, metadata_ms (how long an
                                    unknown topic is waited for)
    empty_records                   whether it sends records with neither key nor value
    null_headers                    whether it sends headers without a value
    too_large, unknown_topic        its names for these errors
    reader(topic, partitions, starts=None, committed=False)
                                    assigned all those partitions, without a group: poll(seconds), close,
                                    seek(partition, offset | "beginning" | "end"), pause([p]), resume([p])
    offset_at(topic, partition, timestamp_ms)    -1 when there is none
    ends(topic, partitions)         their high watermarks
    starts(topic, partitions)       their first offsets
    member(group, topic, **options) a Member that has joined or is joining
    committed(group, topic, partition)           (offset, metadata), or (-1, "")
    commit(group, topic, partition, offset, metadata)    of a group without members
    admin                           an Admin
    elsewhere(address)              what a user reads when nobody listens there
    stranded(topic)                 what a user reads who produces where the broker's address is a wrong one
"""

import collections
import threading
import time

# The time of the first of spaced records: an hour ago, which retention leaves alone.
ORIGIN_MS = time.time_ns() // 1_000_000 - 3_600_000

Record = collections.namedtuple("Record", "partition offset timestamp_ms key value headers")


class Refused(Exception):
    """A record or a transaction was refused; the message starts with the client's own name for why."""


class Fenced(Refused):
    """The producer is fenced: another one has its transactional id."""


class Producer:
    """send queues, flush waits: it answers the errors of what was not acknowledged."""

    def send(self, topic, value, key=None, partition=None, headers=None, timestamp_ms=None):
        raise NotImplementedError

    def flush(self):
        """[client's own name of an error]."""
        raise NotImplementedError

    def begin(self):
        raise NotImplementedError

    def commit(self):
        raise NotImplementedError

    def abort(self):
        raise NotImplementedError

    def send_offsets(self, offsets, group, member=None):
        """offsets: {(topic, partition): offset}; of a member, or of a group without members."""
        raise NotImplementedError

    def close(self):
        raise NotImplementedError


class Admin:
    """Administration; what is refused is raised as Refused, with what the client says."""

    unavailable = {}  # verb -> why

    def create(self, topic, partitions=1, replicas=1, configs=None):
        raise NotImplementedError

    def remove(self, topic):
        raise NotImplementedError

    def topics(self):
        """Their names."""
        raise NotImplementedError

    def by_id(self, topic):
        """(name, partitions) of a topic that is looked up by its id."""
        raise NotImplementedError

    def configs(self, topic):
        """{name: value}."""
        raise NotImplementedError

    def alter(self, topic, configs):
        raise NotImplementedError

    def grow(self, topic, partitions):
        raise NotImplementedError

    def delete_records(self, topic, offsets):
        raise NotImplementedError

    def groups(self):
        """Their names."""
        raise NotImplementedError

    def describe_group(self, group):
        """(state in capitals, members)."""
        raise NotImplementedError

    def delete_group(self, group):
        raise NotImplementedError

    def cluster(self):
        """(id, id of the controller, {id: address})."""
        raise NotImplementedError


class Offsets:
    """Offsets of partitions, for clients whose consumers have kafka-python's verbs; `place` is the client's
    TopicPartition."""

    place = None

    def offset_at(self, topic, partition, timestamp_ms):
        where = self.place(topic, partition)
        found = self._asked(lambda c: c.offsets_for_times({where: timestamp_ms}))[where]
        return found.offset if found else -1

    def ends(self, topic, partitions):
        return self._each(topic, partitions, lambda c, places: c.end_offsets(places))

    def starts(self, topic, partitions):
        return self._each(topic, partitions, lambda c, places: c.beginning_offsets(places))

    def _each(self, topic, partitions, question):
        places = [self.place(topic, p) for p in range(partitions)]
        found = self._asked(lambda c: question(c, places))
        return [found[p] for p in places]


class Member:
    """A member of a group that reads in a thread of its own and notes what happens to it.

    Every record goes to `records`, a list that members may share; with `commits` each batch is
    committed once its records are there.
    """

    poll_s = 0.1

    def __init__(self, topic, records=None):
        self.topic = topic
        self.records = [] if records is None else records
        self.owned = set()
        self.events = []  # ("assigned" | "revoked", {partition})
        self.failed = None
        self.closing = threading.Event()

    def assigned(self, partitions):
        partitions = set(partitions)
        self.events.append(("assigned", partitions))
        self.owned = self.owned | partitions

    def revoked(self, partitions):
        partitions = set(partitions)
        self.events.append(("revoked", partitions))
        self.owned = self.owned - partitions

    def _read(self):
        """What the thread does, with the client's `poll(seconds)` and `_commit()`."""
        try:
            while not self.closing.is_set():
                if found := self.poll(self.poll_s):
                    self.records.extend(found)
                    if self.commits:
                        self._commit()
        except Exception as e:
            self.failed = e

    def close(self):
        raise NotImplementedError
