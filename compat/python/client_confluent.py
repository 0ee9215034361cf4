"""confluent-kafka, which carries librdkafka."""

import os
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic
from model import Admin, Fenced, Member, Producer, Record, Refused

from runner.client import BOOTSTRAP

WAIT_S = 60


def config(**settings):
    common = {"bootstrap.servers": BOOTSTRAP, "reconnect.backoff.max.ms": 200, "log_level": 2}
    if os.environ.get("COMPAT_TRACE"):
        common |= {"debug": os.environ["COMPAT_TRACE"], "log_level": 7}
    return common | settings


def refused(error):
    """Our exception for one of theirs."""
    error = error.args[0] if isinstance(error, KafkaException) else error
    fenced = error.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
    return (Fenced if fenced else Refused)(f"{error.name()}: {error.str()}")


def passing(error):
    """Whether it is only said, and librdkafka goes on trying."""
    return error.retriable() or error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)


def record(message):
    return Record(message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers() or [])


class ConfluentProducer(Producer):
    def __init__(self, codec=None, acks=None, idempotent=None, linger_ms=5, records=None, max_bytes=None, transactional_id=None, metadata_ms=None):
        named = {
            "compression.type": codec,
            "acks": acks,
            "enable.idempotence": idempotent,
            "linger.ms": linger_ms,
            "batch.num.messages": records,
            "message.max.bytes": max_bytes,
            "transactional.id": transactional_id,
            "topic.metadata.propagation.max.ms": metadata_ms,
        }
        if transactional_id:
            # By default it forgets its brokers when all are gone, which one node soon is; a transaction that
            # goes on after that waits for the forgotten one (librdkafka 2.16).
            named |= {"metadata.recovery.strategy": "none"} if confluent_kafka.libversion()[1] >= 0x020B0000 else {}
            named |= {"transaction.timeout.ms": 20_000}
        self.producer = confluent_kafka.Producer(config(**{"retry.backoff.ms": 50}, **{k: v for k, v in named.items() if v is not None}))
        self.errors = []
        if transactional_id:
            self._call(self.producer.init_transactions, WAIT_S)

    def _reported(self, error, _message):
        if error:
            self.errors.append(error.name())

    def send(self, topic, value, key=None, partition=None, headers=None, timestamp_ms=None):
        extra = {"partition": partition, "headers": headers, "timestamp": timestamp_ms}
        extra = {k: v for k, v in extra.items() if v is not None}
        while True:
            try:
                self.producer.produce(topic, value, key, on_delivery=self._reported, **extra)
                self.producer.poll(0)
                return
            except BufferError:
                self.producer.poll(0.05)
            except KafkaException as e:
                raise refused(e) from e

    def flush(self):
        left = self.producer.flush(WAIT_S)
        errors, self.errors = self.errors + ["no report"] * left, []
        return errors

    def _call(self, function, *arguments):
        while True:
            try:
                return function(*arguments)
            except KafkaException as e:
                if not e.args[0].retriable():
                    raise refused(e) from e

    def begin(self):
        self._call(self.producer.begin_transaction)

    def commit(self):
        self._call(self.producer.commit_transaction, WAIT_S)

    def abort(self):
        self._call(self.producer.abort_transaction, WAIT_S)

    def send_offsets(self, offsets, group, member=None):
        consumer = member.consumer if member else Consumer(config(**{"group.id": group}))
        partitions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        try:
            self._call(self.producer.send_offsets_to_transaction, partitions, consumer.consumer_group_metadata(), WAIT_S)
        finally:
            if not member:
                consumer.close()

    def close(self):
        # There is no close: the last reference ends it.
        self.producer.purge()
        self.producer = None


class Reader:
    def __init__(self, topic, partitions, starts=None, committed=False):
        level = "read_committed" if committed else "read_uncommitted"
        self.topic = topic
        self.consumer = Consumer(config(**{"group.id": "compat-reader", "enable.auto.commit": False, "isolation.level": level}))
        self.consumer.assign([TopicPartition(topic, p, (starts or {}).get(p, confluent_kafka.OFFSET_BEGINNING)) for p in range(partitions)])

    def poll(self, seconds):
        found, message = [], self.consumer.poll(seconds)
        while message is not None:  # one without a value is false
            if not message.error():
                found.append(record(message))
            elif not passing(message.error()):
                raise refused(message.error())
            message = self.consumer.poll(0) if len(found) < 1000 else None
        return found

    def seek(self, partition, offset):
        at = {"beginning": confluent_kafka.OFFSET_BEGINNING, "end": confluent_kafka.OFFSET_END}.get(offset, offset)
        self.consumer.seek(TopicPartition(self.topic, partition, at))

    def pause(self, partitions):
        self.consumer.pause([TopicPartition(self.topic, p) for p in partitions])

    def resume(self, partitions):
        self.consumer.resume([TopicPartition(self.topic, p) for p in partitions])

    def close(self):
        self.consumer.close()


class ConfluentMember(Member):
    def __init__(self, group, topic, protocol="eager", instance=None, session_ms=30_000, reset="earliest", records=None, commits=True, read=True, committed=False, metadata_ms=None):
        super().__init__(topic, records)
        settings = {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": reset}
        settings |= {"isolation.level": "read_committed" if committed else "read_uncommitted"}
        if protocol == "kip848":
            settings |= {"group.protocol": "consumer"}
        else:
            strategy = "cooperative-sticky" if protocol == "cooperative" else "range,roundrobin"
            settings |= {"partition.assignment.strategy": strategy, "session.timeout.ms": session_ms, "heartbeat.interval.ms": 500}
        if instance:
            settings |= {"group.instance.id": instance}
        if metadata_ms:
            settings |= {"topic.metadata.refresh.interval.ms": metadata_ms}
        self.commits = commits
        self.consumer = Consumer(config(**settings))
        self.consumer.subscribe(
            [topic],
            on_assign=lambda _, partitions: self.assigned(p.partition for p in partitions),
            on_revoke=lambda _, partitions: self.revoked(p.partition for p in partitions),
            on_lost=lambda _, partitions: self.revoked(p.partition for p in partitions),
        )
        if read:
            self.thread = threading.Thread(target=self._read, daemon=True)
            self.thread.start()

    def poll(self, seconds):
        """One rebalance's records at most: what was read before it is read again after it."""
        found, seen = [], len(self.events)
        message = self.consumer.poll(seconds)
        while message is not None:  # one without a value is false
            if len(self.events) != seen:
                found, seen = [], len(self.events)
            if not message.error():
                found.append(record(message))
            elif not passing(message.error()):
                raise refused(message.error())
            message = self.consumer.poll(0) if len(found) < 500 else None
        return found if len(self.events) == seen else []

    def _commit(self):
        """As long as the broker is away; a commit that a rebalance overtakes is left to the next owner."""
        while True:
            try:
                self.consumer.commit(asynchronous=False)
                return
            except KafkaException as e:
                if e.args[0].code() in (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError._NO_OFFSET):
                    return
                if not passing(e.args[0]) and e.args[0].code() not in (KafkaError._WAIT_COORD, KafkaError.NOT_COORDINATOR):
                    raise
                time.sleep(0.05)

    def rewind(self):
        """Back to what the group has committed."""
        for partition in self.consumer.committed(self.consumer.assignment(), WAIT_S):
            if partition.offset < 0:
                partition.offset = confluent_kafka.OFFSET_BEGINNING
            self.consumer.seek(partition)

    def close(self):
        self.closing.set()
        if hasattr(self, "thread"):
            self.thread.join(WAIT_S)
        self.consumer.close()


class ConfluentAdmin(Admin):
    unavailable = {"by_id": "topics are described by name"}
    if not hasattr(AdminClient, "delete_records"):
        unavailable["delete_records"] = "deleting records came with 2.4"
    if not hasattr(AdminClient, "list_consumer_groups"):
        unavailable |= dict.fromkeys(("groups", "describe_group", "delete_group"), "groups are administered since 2.0")

    def _one(self, ask):
        """The result of the one future that a call answers."""
        try:
            admin = AdminClient(config())
            made = ask(admin)
            return (list(made.values())[0] if isinstance(made, dict) else made).result(WAIT_S)
        except KafkaException as e:
            raise refused(e) from e
        except (ValueError, TypeError) as e:
            raise Refused(f"{type(e).__name__}: {e}") from e

    def create(self, topic, partitions=1, replicas=1, configs=None):
        self._one(lambda a: a.create_topics([NewTopic(topic, partitions, replicas, config=configs or {})]))

    def remove(self, topic):
        self._one(lambda a: a.delete_topics([topic]))

    def topics(self):
        return list(AdminClient(config()).list_topics(timeout=WAIT_S).topics)

    def _resource(self, topic, configs=None):
        return ConfigResource(ConfigResource.Type.TOPIC, topic, set_config=configs)

    def configs(self, topic):
        found = self._one(lambda a: a.describe_configs([self._resource(topic)]))
        return {name: entry.value for name, entry in found.items()}

    def alter(self, topic, configs):
        self._one(lambda a: a.alter_configs([self._resource(topic, configs)]))

    def grow(self, topic, partitions):
        self._one(lambda a: a.create_partitions([NewPartitions(topic, partitions)]))

    def delete_records(self, topic, offsets):
        self._one(lambda a: a.delete_records([TopicPartition(topic, p, offset) for p, offset in offsets.items()]))

    def groups(self):
        return [g.group_id for g in self._one(lambda a: a.list_consumer_groups()).valid]

    def describe_group(self, group):
        found = self._one(lambda a: a.describe_consumer_groups([group]))
        return found.state.name.upper(), len(found.members)

    def delete_group(self, group):
        self._one(lambda a: a.delete_consumer_groups([group]))

    def cluster(self):
        seen = AdminClient(config()).list_topics(timeout=WAIT_S)
        return seen.cluster_id, seen.controller_id, {b.id: f"{b.host}:{b.port}" for b in seen.brokers.values()}


class Client:
    name = "confluent-kafka"
    version = f"{confluent_kafka.version()[0] if isinstance(confluent_kafka.version(), tuple) else confluent_kafka.version()} (librdkafka {confluent_kafka.libversion()[0]})"
    unavailable = {}
    refreshes = True
    # KIP-848 came with 2.4, in preview, and was complete with 2.12.
    protocols = {"eager", "cooperative"} | ({"kip848"} if confluent_kafka.libversion()[1] >= 0x020C0000 else set())
    rejoins = False
    empty_records = True
    metadata_of_commits = hasattr(TopicPartition("", 0), "metadata")
    null_headers = True
    too_large = "MSG_SIZE_TOO_LARGE"
    unknown_topic = ("_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART")
    producer = ConfluentProducer
    reader = Reader
    member = ConfluentMember
    admin = ConfluentAdmin()

    def metadata(self, topic=None):
        seen = AdminClient(config()).list_topics(topic, WAIT_S) if topic else AdminClient(config()).list_topics(timeout=WAIT_S)
        topics = {name: [p.leader for _, p in sorted(t.partitions.items())] for name, t in seen.topics.items()}
        return [f"{b.host}:{b.port}" for b in seen.brokers.values()], topics

    def _asked(self, group, question):
        consumer = Consumer(config(**{"group.id": group, "enable.auto.commit": False}))
        try:
            return question(consumer)
        finally:
            consumer.close()

    def offset_at(self, topic, partition, timestamp_ms):
        found = self._asked("compat-times", lambda c: c.offsets_for_times([TopicPartition(topic, partition, timestamp_ms)], WAIT_S))[0]
        if found.error:
            raise refused(found.error)
        return found.offset if found.offset >= 0 else -1

    def ends(self, topic, partitions):
        return self._asked("compat-ends", lambda c: [c.get_watermark_offsets(TopicPartition(topic, p), WAIT_S)[1] for p in range(partitions)])

    def starts(self, topic, partitions):
        return self._asked("compat-ends", lambda c: [c.get_watermark_offsets(TopicPartition(topic, p), WAIT_S)[0] for p in range(partitions)])

    def elsewhere(self, address):
        said = []
        lost = confluent_kafka.Producer({"bootstrap.servers": address, "error_cb": lambda e: said.append(f"{e.name()}: {e.str()}"), "log_level": 0})
        deadline = time.monotonic() + WAIT_S
        while not said and time.monotonic() < deadline:
            lost.poll(0.1)
        return said[0].split(" (after")[0]

    def stranded(self, topic):
        said = []
        settings = {"message.timeout.ms": 3000, "error_cb": lambda e: said.append(f"{e.name()}: {e.str()}")}
        lost = confluent_kafka.Producer(config(**settings))
        lost.produce(topic, b"nowhere", on_delivery=lambda e, _: said.append(f"delivery: {e.name()}: {e.str()}"))
        lost.flush(WAIT_S)
        # How often each is said, and whether it counts the brokers that are down, depends on the time that passes.
        return "; ".join(sorted({one.split(" (after")[0] for one in said if not one.startswith("_ALL_BROKERS_DOWN")}))

    def committed(self, group, topic, partition):
        found = self._asked(group, lambda c: c.committed([TopicPartition(topic, partition)], WAIT_S))[0]
        return (found.offset, getattr(found, "metadata", "") or "") if found.offset >= 0 else (-1, "")

    def commit(self, group, topic, partition, offset, metadata=""):
        wanted = TopicPartition(topic, partition, offset, *([metadata] if self.metadata_of_commits else []))
        found = self._asked(group, lambda c: c.commit(offsets=[wanted], asynchronous=False))[0]
        if found.error:
            raise refused(found.error)


CLIENT = Client()
