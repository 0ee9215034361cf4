"""aiokafka. Its event loop runs in a thread of its own, so that scenarios can be plain functions."""

import asyncio
import inspect
import logging
import os
import threading

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata
from model import Admin, Fenced, Member, Offsets, Producer, Record, Refused

from runner.client import BOOTSTRAP

try:
    from aiokafka.admin import NewPartitions, NewTopic
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor
except ImportError:  # until 0.9 from kafka-python
    from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
    from kafka.coordinator.assignors.range import RangePartitionAssignor

WAIT_S = 60
logging.getLogger("aiokafka").setLevel(os.environ.get("COMPAT_TRACE", "CRITICAL"))

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def wait(coroutine, seconds=2 * WAIT_S):
    """Runs it in the loop and answers its result."""
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(seconds)


def refused(error):
    """Our exception for one of theirs."""
    fenced = isinstance(error, (errors.ProducerFenced, errors.InvalidProducerEpoch))
    return (Fenced if fenced else Refused)(f"{type(error).__name__}: {error}")


def record(r):
    return Record(r.partition, r.offset, r.timestamp, r.key, r.value, list(r.headers))


class AioProducer(Producer):
    def __init__(self, codec=None, acks=None, idempotent=None, linger_ms=5, records=None, max_bytes=None, transactional_id=None, metadata_ms=None):
        named = {
            "compression_type": None if codec == "none" else codec,
            "acks": acks if acks in (None, "all") else int(acks),
            "enable_idempotence": idempotent,
            # There is no limit of records, only of bytes.
            "max_batch_size": records * 30 if records else max_bytes,
            "max_request_size": max_bytes,
            "transactional_id": transactional_id,
            "request_timeout_ms": metadata_ms or WAIT_S * 1000,
        }
        self.sent, self.waiting = [], []

        async def start():
            self.producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=linger_ms, **{k: v for k, v in named.items() if v is not None})
            await self.producer.start()

        self._call(start())

    def _call(self, coroutine):
        try:
            return wait(coroutine)
        except errors.KafkaError as e:
            raise refused(e) from e

    def send(self, topic, value, key=None, partition=None, headers=None, timestamp_ms=None):
        """A hundred at a time: each goes to the loop's thread and back."""
        self.waiting.append((topic, value, key, partition, timestamp_ms, headers or []))
        if len(self.waiting) >= 100:
            self._pass_on()

    def _pass_on(self):
        waiting, self.waiting = self.waiting, []

        async def send_all():
            for arguments in waiting:
                self.sent.append(await self.producer.send(*arguments))

        self._call(send_all())

    def flush(self):
        self._pass_on()

        async def reports():
            return await asyncio.gather(*self.sent, return_exceptions=True)

        found, self.sent = wait(reports()), []
        return [type(one).__name__ for one in found if isinstance(one, BaseException)]

    def begin(self):
        self._call(self.producer.begin_transaction())

    def commit(self):
        self._pass_on()
        self._call(self.producer.commit_transaction())

    def abort(self):
        self.waiting = []
        self._call(self.producer.abort_transaction())

    def send_offsets(self, offsets, group, member=None):
        partitions = {TopicPartition(*where): offset for where, offset in offsets.items()}
        self._call(self.producer.send_offsets_to_transaction(partitions, group))

    def close(self):
        self._call(self.producer.stop())


def started(consumer):
    async def start():
        found = consumer()
        await found.start()
        return found

    return wait(start())


async def poll(consumer, seconds):
    found = await consumer.getmany(timeout_ms=int(seconds * 1000))
    return [record(r) for records in found.values() for r in records]


class Reader:
    def __init__(self, topic, partitions, starts=None, committed=False):
        self.topic = topic
        level = "read_committed" if committed else "read_uncommitted"
        self.consumer = started(lambda: AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, isolation_level=level, auto_offset_reset="earliest", enable_auto_commit=False))

        async def assign():
            self.consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
            for partition, offset in (starts or {}).items():
                self.consumer.seek(TopicPartition(topic, partition), offset)

        wait(assign())

    def poll(self, seconds):
        return wait(poll(self.consumer, seconds))

    def seek(self, partition, offset):
        where = TopicPartition(self.topic, partition)

        async def seek():
            if offset == "beginning":
                await self.consumer.seek_to_beginning(where)
            elif offset == "end":
                await self.consumer.seek_to_end(where)
            else:
                self.consumer.seek(where, offset)

        wait(seek())

    def pause(self, partitions):
        LOOP.call_soon_threadsafe(lambda: self.consumer.pause(*(TopicPartition(self.topic, p) for p in partitions)))

    def resume(self, partitions):
        LOOP.call_soon_threadsafe(lambda: self.consumer.resume(*(TopicPartition(self.topic, p) for p in partitions)))

    def close(self):
        wait(self.consumer.stop())


class AioMember(Member, ConsumerRebalanceListener):
    def __init__(self, group, topic, protocol="eager", instance=None, session_ms=30_000, reset="earliest", records=None, commits=True, read=True, committed=False, metadata_ms=None):
        super().__init__(topic, records)
        self.commits = commits
        level = "read_committed" if committed else "read_uncommitted"
        settings = {"group_instance_id": instance} if instance else {}
        settings |= {"metadata_max_age_ms": metadata_ms} if metadata_ms else {}
        settings |= {"group_id": group, "session_timeout_ms": session_ms, "heartbeat_interval_ms": 500}
        settings |= {"auto_offset_reset": reset, "enable_auto_commit": False, "isolation_level": level, "max_poll_interval_ms": 60_000}
        self.consumer = started(lambda: AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, partition_assignment_strategy=(RangePartitionAssignor,), **settings))

        async def subscribe():
            self.consumer.subscribe([topic], listener=self)

        wait(subscribe())
        self.reading = asyncio.run_coroutine_threadsafe(self._read(), LOOP)

    def on_partitions_revoked(self, revoked):
        if revoked:
            self.revoked(p.partition for p in revoked)

    def on_partitions_assigned(self, assigned):
        self.assigned(p.partition for p in assigned)

    async def _read(self):
        try:
            while not self.closing.is_set():
                if found := await poll(self.consumer, 0.1):
                    self.records.extend(found)
                    if self.commits:
                        await self._commit()
        except Exception as e:
            self.failed = e

    async def _commit(self):
        """As long as the broker is away; a commit that a rebalance overtakes is left to the next owner."""
        while True:
            try:
                return await self.consumer.commit()
            except errors.CommitFailedError:
                return
            except errors.KafkaError as e:
                if not e.retriable and not isinstance(e, errors.KafkaConnectionError):
                    raise
                await asyncio.sleep(0.05)

    def close(self):
        self.closing.set()
        self.reading.result(WAIT_S)
        wait(self.consumer.stop())


class AioAdmin(Admin):
    """Most of its answers are the broker's responses, whose error codes a user has to look at."""

    unavailable = {"by_id": "topics are described by name", "delete_group": "this client deletes no groups"}
    if not hasattr(AIOKafkaAdminClient, "delete_records"):
        unavailable["delete_records"] = "deleting records came with 0.9"

    def asked(self, question):
        async def ask():
            admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
            await admin.start()
            try:
                return await question(admin)
            finally:
                await admin.close()

        try:
            return wait(ask())
        except (errors.KafkaError, ValueError) as e:
            raise refused(e) from e

    def _checked(self, answers):
        """Of a list of (name, code, message)."""
        for _, code, *message in answers:
            if code:
                raise Refused(f"{errors.for_code(code).__name__}: {message[0] if message else ''}")

    def create(self, topic, partitions=1, replicas=1, configs=None):
        wanted = NewTopic(topic, partitions, replicas, topic_configs=configs)
        self._checked(self.asked(lambda a: a.create_topics([wanted])).topic_errors)

    def remove(self, topic):
        self._checked(self.asked(lambda a: a.delete_topics([topic])).topic_error_codes)

    def topics(self):
        return self.asked(lambda a: a.list_topics())

    def configs(self, topic):
        answer = self.asked(lambda a: a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))[0]
        code, message, _, _, entries = answer.resources[0]
        self._checked([(topic, code, message)])
        return {entry[0]: entry[1] for entry in entries}

    def alter(self, topic, configs):
        answer = self.asked(lambda a: a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)]))[0]
        self._checked([(topic, *one[:2]) for one in answer.resources])

    def grow(self, topic, partitions):
        self.asked(lambda a: a.create_partitions({topic: NewPartitions(partitions)}))

    def delete_records(self, topic, offsets):
        from aiokafka.admin import RecordsToDelete

        wanted = {TopicPartition(topic, p): RecordsToDelete(before_offset=offset) for p, offset in offsets.items()}
        self.asked(lambda a: a.delete_records(wanted))

    def groups(self):
        return [group[0] for group in self.asked(lambda a: a.list_consumer_groups())]

    def describe_group(self, group):
        found = self.asked(lambda a: a.describe_consumer_groups([group]))[0].to_object()["groups"][0]
        return found["state"].upper(), len(found["members"])

    def cluster(self):
        found = self.asked(lambda a: a.describe_cluster())
        return found.get("cluster_id") or "", found["controller_id"], {b["node_id"]: f"{b['host']}:{b['port']}" for b in found["brokers"]}


class Client(Offsets):
    name = "aiokafka"
    place = TopicPartition
    version = aiokafka.__version__
    unavailable = {"eos.chain": "this client sends a transaction's offsets without the member's generation (KIP-447), so a chain with more than one member cannot be exact"}
    if "group_instance_id" not in inspect.signature(AIOKafkaConsumer).parameters:
        unavailable["group.static"] = "static membership came with 0.11"
    refreshes = True
    protocols = {"eager"}
    rejoins = False
    empty_records = False
    null_headers = True
    too_large = "MessageSizeTooLargeError"
    unknown_topic = ("UnknownTopicOrPartitionError", "KafkaTimeoutError")
    producer = AioProducer
    reader = Reader
    member = AioMember
    admin = AioAdmin()

    def _admin(self, question):
        return self.admin.asked(question)

    def _asked(self, question, **settings):
        async def ask():
            consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, **settings)
            await consumer.start()
            try:
                return await question(consumer)
            finally:
                await consumer.stop()

        return wait(ask())

    def metadata(self, topic=None):
        async def ask(admin):
            cluster = await admin.describe_cluster()
            described = await admin.describe_topics([topic] if topic else None)
            leaders = {t["topic"]: [p["leader"] for p in t["partitions"]] for t in described}
            return [f"{b['host']}:{b['port']}" for b in cluster["brokers"]], leaders

        return self._admin(ask)

    def elsewhere(self, address):
        async def ask():
            await AIOKafkaProducer(bootstrap_servers=address).start()

        try:
            wait(ask())
        except errors.KafkaError as e:
            return f"{type(e).__name__}: {e}"
        raise AssertionError("it was not refused")

    def stranded(self, topic):
        async def ask():
            lost = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, request_timeout_ms=5000)
            await lost.start()
            try:
                await lost.send_and_wait(topic, b"nowhere")
            finally:
                await lost.stop()

        try:
            wait(ask())
        except errors.KafkaError as e:
            return f"{type(e).__name__}: {e}"
        raise AssertionError("it was not refused")

    def committed(self, group, topic, partition):
        where = TopicPartition(topic, partition)
        found = self._admin(lambda admin: admin.list_consumer_group_offsets(group, partitions=[where])).get(where)
        return (found.offset, found.metadata or "") if found and found.offset >= 0 else (-1, "")

    def commit(self, group, topic, partition, offset, metadata=""):
        where = TopicPartition(topic, partition)

        async def put(consumer):
            consumer.assign([where])
            await consumer.commit({where: OffsetAndMetadata(offset, metadata)})

        self._asked(put, group_id=group)


CLIENT = Client()
