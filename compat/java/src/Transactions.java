package trestle.compat;

import static trestle.compat.Harness.control;
import static trestle.compat.Harness.expect;
import static trestle.compat.Harness.freshName;
import static trestle.compat.Harness.newTopic;
import static trestle.compat.Harness.waitFor;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ProducerFencedException;
import trestle.compat.Harness.Scenario;

/** Transactions, and the exactly-once chain. */
final class Transactions {
    private static final String LAST = "the last";
    private static final int PARTITIONS = 3;

    private Transactions() {}

    static List<Scenario> scenarios() {
        return List.of(
                new Scenario("txn.commit", Transactions::commit),
                new Scenario("txn.abort", Transactions::abort),
                new Scenario("txn.read-committed", Transactions::readCommitted),
                new Scenario("txn.offsets", Transactions::offsets),
                new Scenario("txn.fencing", Transactions::fencing),
                new Scenario("eos.chain", Transactions::chain));
    }

    private static Client.Sender transactional(String id) {
        Client.Sender sender = new Client.Sender("transactional.id", id, "transaction.timeout.ms", 20_000);
        // A broker that is away for long is asked again.
        for (long deadline = System.nanoTime() + 120_000_000_000L; ; ) {
            try {
                sender.producer.initTransactions();
                return sender;
            } catch (org.apache.kafka.common.errors.TimeoutException e) {
                if (System.nanoTime() > deadline) {
                    throw e;
                }
            }
        }
    }

    private static void mark(String topic, int partitions) throws Exception {
        for (int p = 0; p < partitions; p++) {
            Basic.produce(topic, p, List.of(LAST));
        }
    }

    /** The values of a topic up to a mark that is set at its end now. */
    private static List<String> marked(String topic, boolean committed) throws Exception {
        mark(topic, 1);
        return Basic.texts(Client.readUntil(topic, LAST, 1, committed));
    }

    private static List<String> numbers(int count, int step) {
        return IntStream.range(0, count).filter(i -> i % step == 0).mapToObj(i -> "" + i).collect(Collectors.toList());
    }

    private static String commit() throws Exception {
        List<String> topics = List.of(newTopic(1), newTopic(1));
        try (Client.Sender sender = transactional(freshName("txn"))) {
            sender.producer.beginTransaction();
            for (int i = 0; i < 1000; i++) {
                for (String topic : topics) {
                    sender.send(topic, 0, null, Basic.bytes("" + i));
                }
            }
            sender.producer.commitTransaction();
            sender.flushed();
        }
        for (String topic : topics) {
            expect("values", marked(topic, true), numbers(1000, 1));
        }
        return "";
    }

    private static String abort() throws Exception {
        String topic = newTopic(1);
        try (Client.Sender sender = transactional(freshName("txn"))) {
            for (int i = 0; i < 10; i++) {
                sender.producer.beginTransaction();
                sender.send(topic, 0, null, Basic.bytes("" + i));
                sender.flushed();
                if (i % 2 == 1) {
                    sender.producer.abortTransaction();
                } else {
                    sender.producer.commitTransaction();
                }
            }
        }
        expect("read_committed", marked(topic, true), numbers(10, 2));
        expect("read_uncommitted", marked(topic, false), numbers(10, 1));
        return "";
    }

    private static String readCommitted() throws Exception {
        String topic = newTopic(1);
        Basic.produce(topic, 0, List.of("before"));
        try (Client.Sender sender = transactional(freshName("txn")); Consumer<byte[], byte[]> consumer = Client.consumer("isolation.level", "read_committed")) {
            sender.producer.beginTransaction();
            sender.send(topic, 0, null, Basic.bytes("within"));
            sender.flushed();
            Basic.produce(topic, 0, List.of("behind"));
            consumer.assign(Client.partitions(topic, 1));
            List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
            waitFor(() -> "the first record", 30, () -> {
                Client.poll(consumer, 200).forEach(found::add);
                return !found.isEmpty();
            });
            // Long enough for a fetch that would bring more.
            for (long until = System.nanoTime() + 1_500_000_000L; System.nanoTime() < until; ) {
                Client.poll(consumer, 200).forEach(found::add);
            }
            expect("while the transaction is open", Basic.texts(found), List.of("before"));
            sender.producer.commitTransaction();
            waitFor(() -> "the others", 30, () -> {
                Client.poll(consumer, 200).forEach(found::add);
                return found.size() >= 3;
            });
            expect("when it is committed", Basic.texts(found), List.of("before", "within", "behind"));
        }
        return "";
    }

    private static long stands(String group, String topic, int partition) {
        OffsetAndMetadata found = Client.committed(group, topic, partition);
        return found == null ? -1 : found.offset();
    }

    private static String offsets() throws Exception {
        String topic = newTopic(1);
        String other = newTopic(1);
        String group = freshName("group");
        try (Client.Sender sender = transactional(freshName("txn"))) {
            for (long offset = 3; offset <= 5; offset++) {
                long before = stands(group, topic, 0);
                sender.producer.beginTransaction();
                sender.send(other, 0, null, Basic.bytes("" + offset));
                Client.sendOffsets(sender.producer, Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(offset)), group, null);
                if (offset == 4) {
                    sender.producer.abortTransaction();
                } else {
                    sender.producer.commitTransaction();
                }
                expect("committed", stands(group, topic, 0), offset == 4 ? before : offset);
            }
        }
        return "";
    }

    private static String fencing() throws Exception {
        String topic = newTopic(1);
        String id = freshName("txn");
        Client.Sender first = transactional(id);
        first.producer.beginTransaction();
        first.send(topic, 0, null, Basic.bytes("first"));
        first.flushed();
        Client.Sender second = transactional(id);
        second.producer.beginTransaction();
        second.send(topic, 0, null, Basic.bytes("second"));
        second.flushed();
        String said;
        try {
            first.producer.commitTransaction();
            throw new AssertionError("the first producer could commit");
        } catch (ProducerFencedException e) {
            said = e.getClass().getSimpleName();
        }
        first.close();
        second.producer.commitTransaction();
        second.close();
        expect("values", marked(topic, true), List.of("second"));
        return said;
    }

    // --- the chain ---

    private static final class Tally {
        private final Map<String, Integer> counts = new TreeMap<>();
        private final Map<String, Integer> reasons = new TreeMap<>();

        synchronized void add(String what, Exception reason) {
            counts.merge(what, 1, Integer::sum);
            if (reason != null) {
                reasons.merge(reason.getClass().getSimpleName(), 1, Integer::sum);
            }
        }

        @Override
        public synchronized String toString() {
            return counts.entrySet().stream().map(e -> e.getValue() + " " + e.getKey()).collect(Collectors.joining(", ")) + " " + reasons.keySet();
        }
    }

    /** Numbers into every partition, for as long as scenarios last. */
    private static long[] feed(String topic) {
        long[] counts = new long[PARTITIONS];
        try (Client.Sender sender = new Client.Sender("enable.idempotence", true, "acks", "all")) {
            for (long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(Harness.SECONDS); System.nanoTime() < until; Thread.sleep(10)) {
                for (int p = 0; p < PARTITIONS; p++) {
                    sender.send(topic, p, null, Basic.bytes("" + counts[p]++));
                }
            }
            sender.flushed();
            return counts;
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Consumes, transforms and produces until all is done; what fails is aborted and done again. */
    private static void work(String id, String group, String source, String sink, AtomicBoolean done, Tally tally) {
        Random chance = new Random(id.hashCode());
        while (!done.get()) {
            try (Client.Sender sender = transactional(id);
                    Consumer<byte[], byte[]> consumer = Client.consumer("group.id", group, "isolation.level", "read_committed",
                            "session.timeout.ms", 10_000, "heartbeat.interval.ms", 500)) {
                consumer.subscribe(List.of(source));
                while (!done.get()) {
                    step(sender, consumer, group, sink, chance, tally);
                }
            } catch (KafkaException | IllegalStateException e) {
                // Also what Java says of a producer that cannot go on.
                tally.add("started anew", e);
            }
        }
    }

    private static void step(Client.Sender sender, Consumer<byte[], byte[]> consumer, String group, String sink, Random chance, Tally tally) {
        ConsumerRecords<byte[], byte[]> records = Client.poll(consumer, 200);
        if (records.isEmpty()) {
            return;
        }
        sender.producer.beginTransaction();
        try {
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> record : records) {
                sender.send(sink, record.partition(), Basic.bytes("" + record.offset()), Basic.bytes("<" + Basic.text(record.value()) + ">"));
                offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
            if (chance.nextDouble() < 0.2) {
                sender.producer.flush();
                sender.producer.abortTransaction();
                rewind(consumer);
                tally.add("aborted", null);
                return;
            }
            Client.sendOffsets(sender.producer, offsets, group, consumer);
            sender.producer.commitTransaction();
            tally.add("committed", null);
        } catch (ProducerFencedException e) {
            throw e;
        } catch (KafkaException e) {
            tally.add("failed", e);
            sender.producer.abortTransaction();
            rewind(consumer);
        }
    }

    /** Back to what the group has committed. */
    private static void rewind(Consumer<byte[], byte[]> consumer) {
        for (TopicPartition partition : consumer.assignment()) {
            OffsetAndMetadata at = Client.committed(consumer, partition);
            if (at == null) {
                consumer.seekToBeginning(List.of(partition));
            } else {
                consumer.seek(partition, at.offset());
            }
        }
    }

    private static String chain() throws Exception {
        String source = newTopic(PARTITIONS);
        String sink = newTopic(PARTITIONS);
        String group = freshName("group");
        AtomicBoolean done = new AtomicBoolean();
        Tally tally = new Tally();
        CompletableFuture<long[]> feeder = CompletableFuture.supplyAsync(() -> feed(source));
        List<Thread> workers = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            String id = freshName("chain");
            workers.add(new Thread(() -> work(id, group, source, sink, done, tally)));
            workers.get(i).setDaemon(true);
            workers.get(i).start();
        }
        long[] counts;
        try {
            while (!feeder.isDone()) {
                Thread.sleep(3000);
                control("crash");
                tally.add("broker killed", null);
            }
            counts = feeder.get();
            waitFor(() -> "the chain's end, " + tally, 90, () -> {
                for (int p = 0; p < PARTITIONS; p++) {
                    if (stands(group, source, p) != counts[p]) {
                        Thread.sleep(200);
                        return false;
                    }
                }
                return true;
            });
        } finally {
            done.set(true);
            for (Thread worker : workers) {
                worker.join(30_000);
            }
        }
        mark(sink, PARTITIONS);
        long[] next = new long[PARTITIONS];
        for (ConsumerRecord<byte[], byte[]> record : Client.readUntil(sink, LAST, PARTITIONS, true)) {
            expect("key in partition " + record.partition(), Basic.text(record.key()), "" + next[record.partition()]);
            expect("transformed", Basic.text(record.value()), "<" + next[record.partition()]++ + ">");
        }
        expect("records", next, counts);
        return Arrays.stream(counts).sum() + " records; " + tally;
    }
}
