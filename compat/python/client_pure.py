"""kafka-python. A consumer is used by one thread at a time."""

import logging
import os
import threading
import time

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.structs import OffsetAndMetadata
from model import Admin, Fenced, Member, Offsets, Producer, Record, Refused

from runner.client import BOOTSTRAP

WAIT_S = 60
NEW = int(kafka.__version__.split(".")[0]) >= 3  # with transactions, static members, cooperative ones
logging.getLogger("kafka").setLevel(os.environ.get("COMPAT_TRACE", "CRITICAL"))


def refused(error):
    """Our exception for one of theirs."""
    fenced = tuple(getattr(errors, name) for name in ("ProducerFencedError", "InvalidProducerEpochError") if hasattr(errors, name))
    return (Fenced if isinstance(error, fenced) else Refused)(f"{type(error).__name__}: {error}")


def record(r):
    return Record(r.partition, r.offset, r.timestamp, r.key, r.value, list(r.headers))


def settings(**named):
    return {"bootstrap_servers": BOOTSTRAP, "reconnect_backoff_max_ms": 200} | {k: v for k, v in named.items() if v is not None}


class PureProducer(Producer):
    def __init__(self, codec=None, acks=None, idempotent=None, linger_ms=5, records=None, max_bytes=None, transactional_id=None, metadata_ms=None):
        if NEW:
            # Idempotence, which is on by default, is for acks=all only.
            named = {"enable_idempotence": acks in (None, "all") if idempotent is None else idempotent, "transactional_id": transactional_id}
        else:
            named = {"retries": 1000}
        self.producer = KafkaProducer(
            **settings(
                compression_type=None if codec == "none" else codec,
                acks=acks if acks in (None, "all") else int(acks),
                linger_ms=linger_ms,
                # There is no limit of records, only of bytes.
                batch_size=records * 30 if records else max_bytes,
                max_request_size=max_bytes,
                max_block_ms=metadata_ms or WAIT_S * 1000,
                retry_backoff_ms=50,
                **named,
            )
        )
        self.sent = []
        if transactional_id:
            self._call(self.producer.init_transactions)

    def _call(self, function, *arguments):
        try:
            return function(*arguments)
        except errors.KafkaError as e:
            raise refused(e) from e

    def send(self, topic, value, key=None, partition=None, headers=None, timestamp_ms=None):
        self.sent.append(self._call(lambda: self.producer.send(topic, value, key, headers or [], partition, timestamp_ms)))

    def flush(self):
        self.producer.flush(WAIT_S)
        found, self.sent = [], self.sent
        for one in self.sent:
            try:
                one.get(WAIT_S)
            except errors.KafkaError as e:
                found.append(type(e).__name__)
        self.sent = []
        return found

    def begin(self):
        self._call(self.producer.begin_transaction)

    def commit(self):
        self._call(self.producer.commit_transaction)

    def abort(self):
        self._call(self.producer.abort_transaction)

    def send_offsets(self, offsets, group, member=None):
        partitions = {TopicPartition(*where): OffsetAndMetadata(offset, "", -1) for where, offset in offsets.items()}
        self._call(self.producer.send_offsets_to_transaction, partitions, member.consumer.group_metadata() if member else group)

    def close(self):
        self.producer.close(WAIT_S)


def consumer(group=None, committed=False, **named):
    if NEW:
        named |= {"isolation_level": "read_committed" if committed else "read_uncommitted"}
    return KafkaConsumer(**settings(group_id=group, enable_auto_commit=False, retry_backoff_ms=50, **({"auto_offset_reset": "earliest"} | named)))


def polled(found):
    return [record(r) for records in found.values() for r in records]


class Reader:
    def __init__(self, topic, partitions, starts=None, committed=False):
        self.topic, self.consumer = topic, consumer(committed=committed)
        self.consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
        for partition, offset in (starts or {}).items():
            self.consumer.seek(TopicPartition(topic, partition), offset)

    def poll(self, seconds):
        return polled(self.consumer.poll(int(seconds * 1000)))

    def seek(self, partition, offset):
        where = TopicPartition(self.topic, partition)
        if offset == "beginning":
            self.consumer.seek_to_beginning(where)
        elif offset == "end":
            self.consumer.seek_to_end(where)
        else:
            self.consumer.seek(where, offset)

    def pause(self, partitions):
        self.consumer.pause(*(TopicPartition(self.topic, p) for p in partitions))

    def resume(self, partitions):
        self.consumer.resume(*(TopicPartition(self.topic, p) for p in partitions))

    def close(self):
        self.consumer.close()


class PureMember(Member, ConsumerRebalanceListener):
    # A join that outlasts the poll that it began in may be lost (3.0.12), so polls are long.
    poll_s = 1

    def __init__(self, group, topic, protocol="eager", instance=None, session_ms=30_000, reset="earliest", records=None, commits=True, read=True, committed=False, metadata_ms=None):
        super().__init__(topic, records)
        self.commits, assignor = commits, RangePartitionAssignor
        named = {"group_instance_id": instance, "metadata_max_age_ms": metadata_ms}
        if protocol == "cooperative":
            from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

            assignor = CooperativeStickyAssignor
        self.consumer = consumer(
            group,
            committed,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=500,
            auto_offset_reset=reset,
            max_poll_interval_ms=max(60_000, session_ms),
            request_timeout_ms=2 * max(60_000, session_ms),
            connections_max_idle_ms=10 * 60_000,
            partition_assignment_strategy=[assignor],
            **named,
        )
        self.consumer.subscribe([topic], listener=self)
        if read:
            self.thread = threading.Thread(target=self._read, daemon=True)
            self.thread.start()

    def on_partitions_revoked(self, revoked):
        if revoked:
            self.revoked(p.partition for p in revoked)

    def on_partitions_assigned(self, assigned):
        self.assigned(p.partition for p in assigned)

    def on_partitions_lost(self, lost):
        self.on_partitions_revoked(lost)

    def poll(self, seconds):
        try:
            return polled(self.consumer.poll(int(seconds * 1000)))
        except errors.KafkaError as e:
            raise refused(e) from e

    def _commit(self):
        """As long as the broker is away; a commit that a rebalance overtakes is left to the next owner."""
        while True:
            try:
                return self.consumer.commit()
            except errors.CommitFailedError:
                return
            except errors.KafkaError as e:
                if not e.retriable and not isinstance(e, errors.KafkaConnectionError):
                    raise
                time.sleep(0.05)

    def rewind(self):
        """Back to what the group has committed."""
        for partition in self.consumer.assignment():
            self.consumer.seek(partition, self.consumer.committed(partition) or 0)

    def close(self):
        self.closing.set()
        if hasattr(self, "thread"):
            self.thread.join(WAIT_S)
        self.consumer.close()


class PureAdmin(Admin):
    """The names of its verbs changed with 3.0."""

    unavailable = {}
    if not NEW:
        unavailable |= {"by_id": "topics are described by name", "delete_records": "deleting records came with 2.1"}

    def asked(self, question):
        try:
            admin = KafkaAdminClient(**settings())
            try:
                return question(admin)
            finally:
                admin.close()
        except (errors.KafkaError, ValueError, TypeError) as e:
            raise refused(e) from e

    def create(self, topic, partitions=1, replicas=1, configs=None):
        self.asked(lambda a: a.create_topics([NewTopic(topic, partitions, replicas, topic_configs=configs)]))

    def remove(self, topic):
        self.asked(lambda a: a.delete_topics([topic]))

    def topics(self):
        return self.asked(lambda a: [t if isinstance(t, str) else t["name"] for t in a.list_topics()])

    def by_id(self, topic):
        import uuid

        named = self.asked(lambda a: a.describe_topics([topic]))[0]
        found = self.asked(lambda a: a.describe_topics([uuid.UUID(str(named["topic_id"]))]))[0]
        return found["name"], len(found["partitions"])

    def configs(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        if NEW:
            found = self.asked(lambda a: a.describe_configs([resource], config_filter="all"))
            while isinstance(found, dict) and found and "retention.ms" not in found:
                found = next(iter(found.values()))
            return {name: entry["value"] for name, entry in found.items()}
        code, message, _, _, entries = self.asked(lambda a: a.describe_configs([resource]))[0].resources[0]
        if code:
            raise Refused(f"{errors.for_code(code).__name__}: {message}")
        return {entry[0]: entry[1] for entry in entries}

    def alter(self, topic, configs):
        answer = self.asked(lambda a: a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)]))
        for code, message, *_ in [] if NEW else answer.resources:
            if code:
                raise Refused(f"{errors.for_code(code).__name__}: {message}")

    def grow(self, topic, partitions):
        wanted = {topic: NewPartitions(partitions)}
        self.asked(lambda a: a.create_partitions(wanted))

    def delete_records(self, topic, offsets):
        self.asked(lambda a: a.delete_records({TopicPartition(topic, p): offset for p, offset in offsets.items()}))

    def groups(self):
        if NEW:
            return self.asked(lambda a: [g["group_id"] for g in a.list_groups()])
        return self.asked(lambda a: [g[0] for g in a.list_consumer_groups()])

    def describe_group(self, group):
        if NEW:
            found = self.asked(lambda a: a.describe_groups([group]))[group]
            state = found.get("group_state", found.get("state"))
            return state.upper(), len(found["members"])
        found = self.asked(lambda a: a.describe_consumer_groups([group]))[0]
        return found.state.upper(), len(found.members)

    def delete_group(self, group):
        if NEW:
            answer = self.asked(lambda a: a.delete_groups([group]))
            said = answer.get(group) if isinstance(answer, dict) else None
            if said not in (None, "OK", True):
                raise Refused(str(said))
            return
        for _, error in self.asked(lambda a: a.delete_consumer_groups([group])):
            if error is not errors.NoError:
                raise Refused(error.__name__)

    def cluster(self):
        found = self.asked(lambda a: a.describe_cluster())
        brokers = {b.get("node_id", b.get("broker_id")): f"{b['host']}:{b['port']}" for b in found["brokers"]}
        return found["cluster_id"], found["controller_id"], brokers


class Client(Offsets):
    name = "kafka-python"
    place = TopicPartition
    version = kafka.__version__
    unavailable = {}
    if not NEW:
        none = "this client has no idempotent producer"
        unavailable |= dict.fromkeys(("idempotent", "restart.clean", "restart.crash"), none)
        none = "this client has no transactions"
        unavailable |= dict.fromkeys(("txn.commit", "txn.abort", "txn.read-committed", "txn.offsets", "txn.fencing", "eos.chain"), none)
        unavailable["group.static"] = "static membership came with 2.1"
    protocols = {"eager"} | ({"cooperative"} if NEW else set())
    rejoins = False
    empty_records = False
    null_headers = False
    refreshes = True
    too_large = "MessageSizeTooLargeError"
    unknown_topic = ("UnknownTopicOrPartitionError", "KafkaTimeoutError")
    producer = PureProducer
    reader = Reader
    member = PureMember
    admin = PureAdmin()

    def _admin(self, question):
        return self.admin.asked(question)

    def _asked(self, question, group=None):
        asking = consumer(group)
        try:
            return question(asking)
        finally:
            asking.close()

    def metadata(self, topic=None):
        def ask(admin):
            brokers = admin.describe_cluster()["brokers"]
            leaders = {}
            for t in admin.describe_topics([topic] if topic else None):
                by = {p.get("partition", p.get("partition_index")): p.get("leader", p.get("leader_id")) for p in t["partitions"]}
                leaders[t.get("topic", t.get("name"))] = [by[p] for p in sorted(by)]
            return [f"{b['host']}:{b['port']}" for b in brokers], leaders

        return self._admin(ask)

    def _said(self, call):
        try:
            call()
        except errors.KafkaError as e:
            return f"{type(e).__name__}: {e}"
        raise AssertionError("it was not refused")

    def elsewhere(self, address):
        patience = {"bootstrap_timeout_ms": 2000} if NEW else {"api_version_auto_timeout_ms": 2000}
        return self._said(lambda: KafkaAdminClient(bootstrap_servers=address, **patience))

    def stranded(self, topic):
        def produce():
            lost = KafkaProducer(**settings(max_block_ms=3000, request_timeout_ms=3000, retry_backoff_ms=100, **({"delivery_timeout_ms": 6000} if NEW else {})))
            try:
                lost.send(topic, b"nowhere").get(WAIT_S)
            finally:
                lost.close(0)

        return self._said(produce)

    def committed(self, group, topic, partition):
        found = self._asked(lambda c: c.committed(TopicPartition(topic, partition), metadata=True), group)
        return (found.offset, found.metadata or "") if found and found.offset >= 0 else (-1, "")

    def commit(self, group, topic, partition, offset, metadata=""):
        where = TopicPartition(topic, partition)

        def put(committing):
            committing.assign([where])
            wanted = OffsetAndMetadata(offset, metadata, -1) if len(OffsetAndMetadata._fields) == 3 else OffsetAndMetadata(offset, metadata)
            committing.commit({where: wanted})

        self._asked(put, group)


CLIENT = Client()
