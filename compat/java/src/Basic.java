package trestle.compat;

import static trestle.compat.Harness.control;
import static trestle.compat.Harness.expect;
import static trestle.compat.Harness.freshName;
import static trestle.compat.Harness.newTopic;
import static trestle.compat.Harness.waitFor;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import trestle.compat.Harness.Scenario;

/** Producing, consuming, metadata, times, and a broker that goes away. */
final class Basic {
    private Basic() {}

    static List<Scenario> scenarios() {
        List<Scenario> all = new ArrayList<>();
        all.add(new Scenario("metadata.all", Basic::metadataAll));
        all.add(new Scenario("metadata.by-name", Basic::metadataByName));
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            all.add(new Scenario("codec." + codec, () -> codec(codec)));
        }
        all.add(new Scenario("records.shapes", Basic::shapes));
        all.add(new Scenario("keys.partitions", Basic::keys));
        for (String level : List.of("0", "1", "all")) {
            all.add(new Scenario("acks." + level, () -> acks(level)));
        }
        all.add(new Scenario("idempotent", Basic::idempotent));
        all.add(new Scenario("time.lookup", Basic::timeLookup));
        all.add(new Scenario("time.start", Basic::timeStart));
        all.add(new Scenario("records.1mb", Basic::oneMegabyte));
        all.add(new Scenario("records.too-large", Basic::tooLarge));
        all.add(new Scenario("partitions.many", Basic::manyPartitions));
        all.add(new Scenario("consume.tail", Basic::tail));
        all.add(new Scenario("auto-create.on", Basic::autoCreateOn));
        all.add(new Scenario("auto-create.off", Basic::autoCreateOff));
        all.add(new Scenario("restart.clean", () -> restart("restart")));
        all.add(new Scenario("restart.crash", () -> restart("crash")));
        return all;
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] value) {
        return value == null ? null : new String(value, StandardCharsets.UTF_8);
    }

    static List<String> texts(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(r -> text(r.value())).collect(Collectors.toList());
    }

    static List<String> values(String topic) {
        return texts(Client.read(topic, 1));
    }

    private static List<String> numbered(int count, int width) {
        List<String> values = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            values.add(String.format("record %08d %s", i, "x".repeat(width)));
        }
        return values;
    }

    static void produce(String topic, Integer partition, List<String> values, Object... pairs) throws Exception {
        try (Client.Sender sender = new Client.Sender(pairs)) {
            for (String value : values) {
                sender.send(topic, partition, null, bytes(value));
            }
            sender.flushed();
        }
    }

    /** One field of every stored batch. */
    private static List<String> stored(String topic, String field) throws Exception {
        List<String> values = new ArrayList<>();
        Matcher found = Pattern.compile("\"" + field + "\": \"?([^\",}]*)").matcher(control("batches", topic, 0));
        while (found.find()) {
            values.add(found.group(1));
        }
        return values;
    }

    private static String metadataAll() throws Exception {
        String topic = newTopic(3);
        try (AdminClient admin = Client.admin()) {
            List<String> brokers = new ArrayList<>();
            for (Node node : admin.describeCluster().nodes().get()) {
                brokers.add(node.host() + ":" + node.port());
            }
            expect("brokers", brokers, List.of(Harness.BOOTSTRAP));
            expect("listed", admin.listTopics().names().get().contains(topic), true);
        }
        expect("partitions", Client.asked(c -> c.listTopics().get(topic).size()), 3);
        return "";
    }

    private static String metadataByName() throws Exception {
        String topic = newTopic(3);
        List<PartitionInfo> found = Client.asked(c -> c.partitionsFor(topic));
        expect("partitions", found.size(), 3);
        expect("leaders", found.stream().map(p -> p.leader().id()).distinct().count(), 1L);
        return "";
    }

    private static String codec(String name) throws Exception {
        String topic = newTopic(1);
        List<String> sent = numbered(10_000, 100);
        try {
            produce(topic, 0, sent, "compression.type", name, "linger.ms", 50, "batch.size", 200_000);
        } catch (IllegalArgumentException | org.apache.kafka.common.KafkaException e) {
            if (!Client.hasClass("org.apache.kafka.clients.consumer.CooperativeStickyAssignor") && name.equals("zstd")) {
                throw new Harness.NotAvailable("zstd came with 2.1");
            }
            throw e;
        }
        expect("values", values(topic).equals(sent), true);
        List<String> codecs = stored(topic, "codec");
        expect("codecs stored", new HashSet<>(codecs), Set.of(name));
        return codecs.size() + " batches";
    }

    private static String shapes() throws Exception {
        String topic = newTopic(1);
        List<Header> headers = List.of(new RecordHeader("a", bytes("1")), new RecordHeader("a", bytes("2")), new RecordHeader("empty", new byte[0]), new RecordHeader("null", (byte[]) null));
        List<String> sides = Arrays.asList(null, "", "text");
        List<List<String>> sent = new ArrayList<>();
        try (Client.Sender sender = new Client.Sender()) {
            for (String key : sides) {
                for (String value : sides) {
                    sent.add(Arrays.asList(key, value));
                    sender.send(new ProducerRecord<>(topic, 0, ORIGIN_MS, bytes(key), bytes(value), headers));
                }
            }
            sender.flushed();
        }
        List<List<String>> got = new ArrayList<>();
        for (ConsumerRecord<byte[], byte[]> record : Client.read(topic, 1)) {
            got.add(Arrays.asList(text(record.key()), text(record.value())));
            expect("timestamp", record.timestamp(), ORIGIN_MS);
            expect("headers", Arrays.asList(record.headers().toArray()), headers);
        }
        expect("records", got, sent);
        return "";
    }

    private static String keys() throws Exception {
        String topic = newTopic(8);
        try (Client.Sender sender = new Client.Sender()) {
            for (int i = 0; i < 1000; i++) {
                sender.send(topic, null, bytes("key-" + i % 100), bytes("" + i));
            }
            sender.flushed();
        }
        Map<String, Integer> homes = new HashMap<>();
        Set<Integer> values = new HashSet<>();
        List<ConsumerRecord<byte[], byte[]>> got = Client.read(topic, 8);
        for (ConsumerRecord<byte[], byte[]> record : got) {
            Integer home = homes.put(text(record.key()), record.partition());
            expect("home of " + text(record.key()), home == null || home == record.partition(), true);
            values.add(Integer.parseInt(text(record.value())));
        }
        expect("records", got.size() + " " + values.size(), "1000 1000");
        expect("partitions used", new HashSet<>(homes.values()).size(), 8);
        return "";
    }

    private static long end(String topic) {
        TopicPartition first = new TopicPartition(topic, 0);
        return Client.asked(c -> c.endOffsets(List.of(first)).get(first));
    }

    private static String acks(String level) throws Exception {
        String topic = newTopic(1);
        List<String> sent = numbered(1000, 0);
        // Idempotence, which newer versions have on, is for acks=all only.
        produce(topic, 0, sent, "acks", level, "enable.idempotence", level.equals("all"));
        // Nobody told the producer with acks=0 when its records were there.
        waitFor(() -> "1000 records", 60, () -> end(topic) >= 1000);
        expect("values", values(topic).equals(sent), true);
        return "";
    }

    private static String idempotent() throws Exception {
        String topic = newTopic(1);
        List<String> sent = numbered(5000, 0);
        produce(topic, 0, sent, "enable.idempotence", true, "acks", "all", "batch.size", 2000);
        expect("values", values(topic).equals(sent), true);
        List<String> ids = stored(topic, "producer_id");
        expect("one producer id", new HashSet<>(ids).size() == 1 && Long.parseLong(ids.get(0)) >= 0, true);
        return ids.size() + " batches";
    }

    /** The time of the first of the spaced records: an hour ago, which retention leaves alone. */
    static final long ORIGIN_MS = System.currentTimeMillis() - 3_600_000;

    /** Eight records a second apart, in batches of two; answers the topic. */
    private static String spaced() throws Exception {
        String topic = newTopic(1);
        for (int batch = 0; batch < 4; batch++) {
            try (Client.Sender sender = new Client.Sender("linger.ms", 50)) {
                for (int i = 2 * batch; i < 2 * batch + 2; i++) {
                    sender.send(new ProducerRecord<>(topic, 0, ORIGIN_MS + 1000L * i, (byte[]) null, bytes("at " + i)));
                }
                sender.flushed();
            }
        }
        return topic;
    }

    private static long lookup(Consumer<byte[], byte[]> consumer, String topic, long at) {
        TopicPartition first = new TopicPartition(topic, 0);
        OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(first, at)).get(first);
        return found == null ? -1 : found.offset();
    }

    private static String timeLookup() throws Exception {
        String topic = spaced();
        Client.asked(consumer -> {
            for (int i = 0; i < 8; i++) {
                long at = ORIGIN_MS + 1000L * i;
                expect("its timestamp", lookup(consumer, topic, at), (long) i);
                expect("just before its timestamp", lookup(consumer, topic, at - 1), (long) i);
            }
            expect("after the last", lookup(consumer, topic, ORIGIN_MS + 7001), -1L);
            return null;
        });
        return "";
    }

    private static String timeStart() throws Exception {
        String topic = spaced();
        long start = Client.asked(consumer -> lookup(consumer, topic, ORIGIN_MS + 4500));
        List<String> got = Client.read(topic, 1, start).stream().map(r -> r.offset() + "@" + (r.timestamp() - ORIGIN_MS)).collect(Collectors.toList());
        expect("records", got, List.of("5@5000", "6@6000", "7@7000"));
        return "";
    }

    private static String oneMegabyte() throws Exception {
        String topic = newTopic(1);
        List<byte[]> sent = new ArrayList<>();
        try (Client.Sender sender = new Client.Sender("max.request.size", 1_048_576)) {
            for (int i = 0; i < 5; i++) {
                byte[] body = new byte[1_000_000];
                for (int at = 0; at < body.length; at++) {
                    body[at] = (byte) (at * 31 ^ i);
                }
                sent.add(body);
                sender.send(topic, 0, null, body);
            }
            sender.flushed();
        }
        List<ConsumerRecord<byte[], byte[]>> got = Client.read(topic, 1);
        expect("records", got.size(), 5);
        for (int i = 0; i < 5; i++) {
            expect("body " + i, Arrays.equals(got.get(i).value(), sent.get(i)), true);
        }
        return "";
    }

    private static String tooLarge() throws Exception {
        String topic = newTopic(1);
        try (Client.Sender sender = new Client.Sender("max.request.size", 4_000_000)) {
            sender.send(topic, 0, null, new byte[2_000_000]);
            expect("errors", sender.flush(), List.of("RecordTooLargeException"));
            sender.send(topic, 0, null, bytes("small"));
            sender.flushed();
        }
        expect("values", values(topic), List.of("small"));
        return "RecordTooLargeException";
    }

    private static String manyPartitions() throws Exception {
        String topic = newTopic(200);
        List<String> sent = numbered(20_000, 0);
        try (Client.Sender sender = new Client.Sender("enable.idempotence", true, "acks", "all")) {
            for (int i = 0; i < sent.size(); i++) {
                sender.send(topic, i % 200, null, bytes(sent.get(i)));
            }
            sender.flushed();
        }
        int[] counts = new int[200];
        for (ConsumerRecord<byte[], byte[]> record : Client.read(topic, 200)) {
            expect("value", text(record.value()), sent.get((int) record.offset() * 200 + record.partition()));
            counts[record.partition()]++;
        }
        expect("all of them", Arrays.stream(counts).allMatch(n -> n == 100), true);
        expect("partitions listed", Client.asked(c -> c.partitionsFor(topic).size()), 200);
        return "";
    }

    private static String tail() throws Exception {
        String topic = newTopic(1);
        long slowest = 0;
        try (Consumer<byte[], byte[]> consumer = Client.consumer(); Client.Sender sender = new Client.Sender("linger.ms", 0)) {
            consumer.assign(Client.partitions(topic, 1));
            for (int i = 0; i < 20; i++) {
                String value = "record " + i;
                sender.send(topic, 0, null, bytes(value));
                sender.flushed();
                long acknowledged = System.nanoTime();
                List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
                waitFor(() -> value, 60, () -> {
                    Client.poll(consumer, 1000).forEach(got::add);
                    return !got.isEmpty();
                });
                expect("values", texts(got), List.of(value));
                // The first one waits for the consumer's start.
                slowest = Math.max(slowest, i == 0 ? 0 : (System.nanoTime() - acknowledged) / 1_000_000);
            }
        }
        expect("the slowest within five seconds of its acknowledgement", slowest < 5000, true);
        return "slowest of 19: " + slowest + " ms after its acknowledgement";
    }

    private static String autoCreateOn() throws Exception {
        String topic = freshName("compat-auto");
        produce(topic, null, List.of("made by use"));
        expect("values", values(topic), List.of("made by use"));
        return "";
    }

    private static String autoCreateOff() throws Exception {
        control("settings", "auto.create.topics.enable=false");
        try {
            String topic = freshName("compat-auto");
            List<String> errors;
            try (Client.Sender sender = new Client.Sender("max.block.ms", 2000)) {
                sender.send(topic, null, null, bytes("nowhere"));
                errors = sender.flush();
            }
            expect("errors", errors, List.of("TimeoutException"));
            try (AdminClient admin = Client.admin()) {
                expect("the topic was made", admin.listTopics().names().get().contains(topic), false);
            }
            return "TimeoutException: topic not present in metadata";
        } finally {
            control("settings");
        }
    }

    /** One long-lived idempotent producer; the broker goes away in the middle of its records. */
    private static String restart(String how) throws Exception {
        String topic = newTopic(1);
        List<String> sent = numbered(20_000, 0);
        CompletableFuture<String> going = null;
        try (Client.Sender sender = new Client.Sender("enable.idempotence", true, "acks", "all", "batch.size", 1500)) {
            for (int i = 0; i < sent.size(); i++) {
                if (i == 5000 || i == 12_000) {
                    if (going != null) {
                        going.get();
                    }
                    going = CompletableFuture.supplyAsync(() -> {
                        try {
                            return control(how);
                        } catch (Exception e) {
                            throw new IllegalStateException(e);
                        }
                    });
                }
                sender.send(topic, 0, null, bytes(sent.get(i)));
                if (i % 50 == 0) {
                    Thread.sleep(2);
                }
            }
            going.get();
            sender.flushed();
        }
        List<String> got = values(topic);
        Set<String> distinct = new HashSet<>(got);
        expect("lost", sent.size() - distinct.size(), 0);
        expect("doubled", got.size() - distinct.size(), 0);
        expect("in order", got.equals(sent), true);
        return "two restarts";
    }
}
