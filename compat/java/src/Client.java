package trestle.compat;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The client, with what changed its name between 1.1 and 4.x called by what it is called here. */
public final class Client {
    public static final int WAIT_S = 60;

    private Client() {}

    public static Properties settings(Object... pairs) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", Harness.BOOTSTRAP);
        settings.put("reconnect.backoff.ms", "50");
        settings.put("reconnect.backoff.max.ms", "200");
        for (int i = 0; i < pairs.length; i += 2) {
            settings.put(pairs[i], String.valueOf(pairs[i + 1]));
        }
        return settings;
    }

    /** A producer that remembers what became of each record. */
    public static final class Sender implements AutoCloseable {
        public final Producer<byte[], byte[]> producer;
        private final List<Future<RecordMetadata>> sent = new ArrayList<>();

        public Sender(Object... pairs) {
            Properties settings = settings("retry.backoff.ms", 50, "max.block.ms", 60_000, "delivery.timeout.ms", 120_000, "retries", Integer.MAX_VALUE);
            settings.putAll(settings(pairs));
            producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        }

        public void send(String topic, Integer partition, byte[] key, byte[] value) {
            send(new ProducerRecord<>(topic, partition, key, value));
        }

        public void send(ProducerRecord<byte[], byte[]> record) {
            sent.add(producer.send(record));
        }

        /** Waits for all that was sent; answers the names of the errors. */
        public List<String> flush() throws InterruptedException {
            producer.flush();
            List<String> errors = new ArrayList<>();
            for (Future<RecordMetadata> one : sent) {
                try {
                    one.get();
                } catch (ExecutionException e) {
                    errors.add(e.getCause().getClass().getSimpleName());
                }
            }
            sent.clear();
            return errors;
        }

        /** Insists that all arrived. */
        public void flushed() throws InterruptedException {
            Harness.expect("delivery errors", flush(), List.of());
        }

        @Override
        public void close() {
            producer.close();
        }
    }

    public static Consumer<byte[], byte[]> consumer(Object... pairs) {
        Properties settings = settings("enable.auto.commit", false, "auto.offset.reset", "earliest");
        settings.putAll(settings(pairs));
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    public static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> all = new ArrayList<>();
        for (int p = 0; p < count; p++) {
            all.add(new TopicPartition(topic, p));
        }
        return all;
    }

    /** Everything from the start to the ends, and nothing after that. */
    public static List<ConsumerRecord<byte[], byte[]>> read(String topic, int partitions, long start) {
        try (Consumer<byte[], byte[]> consumer = consumer()) {
            List<TopicPartition> all = partitions(topic, partitions);
            consumer.assign(all);
            if (start >= 0) {
                all.forEach(p -> consumer.seek(p, start));
            } else {
                consumer.seekToBeginning(all);
            }
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
            long deadline = System.nanoTime() + WAIT_S * 1_000_000_000L;
            while (all.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                if (System.nanoTime() > deadline) {
                    throw new AssertionError("the end did not come within " + WAIT_S + " s; " + found.size() + " records did");
                }
                poll(consumer, 200).forEach(found::add);
            }
            return found;
        }
    }

    public static List<ConsumerRecord<byte[], byte[]>> read(String topic, int partitions) {
        return read(topic, partitions, -1);
    }

    /** Everything up to the value `last`, which each partition has. */
    public static List<ConsumerRecord<byte[], byte[]>> readUntil(String topic, String last, int partitions, boolean committed) {
        try (Consumer<byte[], byte[]> consumer = consumer("isolation.level", committed ? "read_committed" : "read_uncommitted")) {
            consumer.assign(partitions(topic, partitions));
            consumer.seekToBeginning(consumer.assignment());
            List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
            long deadline = System.nanoTime() + WAIT_S * 1_000_000_000L;
            for (int missing = partitions; missing > 0; ) {
                if (System.nanoTime() > deadline) {
                    throw new AssertionError(last + " did not come within " + WAIT_S + " s; " + found.size() + " records did");
                }
                for (ConsumerRecord<byte[], byte[]> record : poll(consumer, 200)) {
                    if (record.value() != null && new String(record.value()).equals(last)) {
                        missing--;
                    } else {
                        found.add(record);
                    }
                }
            }
            return found;
        }
    }

    /** What a read_committed consumer finds in partition 0 up to the last stable offset of now. */
    public static List<ConsumerRecord<byte[], byte[]>> readCommitted(String topic) {
        try (Consumer<byte[], byte[]> consumer = consumer("isolation.level", "read_committed")) {
            TopicPartition first = new TopicPartition(topic, 0);
            consumer.assign(List.of(first));
            consumer.seekToBeginning(List.of(first));
            long end = consumer.endOffsets(List.of(first)).get(first);
            List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
            while (consumer.position(first) < end) {
                poll(consumer, 200).forEach(found::add);
            }
            return found;
        }
    }

    public static <T> T asked(java.util.function.Function<Consumer<byte[], byte[]>, T> question, Object... pairs) {
        try (Consumer<byte[], byte[]> consumer = consumer(pairs)) {
            return question.apply(consumer);
        }
    }

    public static AdminClient admin() {
        return AdminClient.create(settings());
    }

    /** What a group has committed for a partition, or null. */
    public static OffsetAndMetadata committed(String group, String topic, int partition) {
        return asked(consumer -> committed(consumer, new TopicPartition(topic, partition)), "group.id", group);
    }

    /** committed(Set) came with 2.4, committed(TopicPartition) went with 4.0. */
    public static OffsetAndMetadata committed(Consumer<?, ?> consumer, TopicPartition wanted) {
        Method many = method(consumer, "committed", java.util.Set.class);
        Object found = many != null
                ? ((Map<?, ?>) call(many, consumer, Collections.singleton(wanted))).get(wanted)
                : call(method(consumer, "committed", TopicPartition.class), consumer, wanted);
        return (OffsetAndMetadata) found;
    }

    public static void commit(String group, String topic, int partition, long offset, String metadata) {
        asked(consumer -> {
            consumer.commitSync(Map.of(new TopicPartition(topic, partition), new OffsetAndMetadata(offset, metadata)));
            return null;
        }, "group.id", group);
    }

    /** poll(Duration) came with 2.0, poll(long) went with 4.0. */
    public static ConsumerRecords<byte[], byte[]> poll(Consumer<byte[], byte[]> consumer, long ms) {
        Method timed = method(consumer, "poll", Duration.class);
        @SuppressWarnings("unchecked")
        ConsumerRecords<byte[], byte[]> records = (ConsumerRecords<byte[], byte[]>)
                (timed != null ? call(timed, consumer, Duration.ofMillis(ms)) : call(method(consumer, "poll", long.class), consumer, ms));
        return records;
    }

    /** With the member's generation where the client has that (2.5, KIP-447), else by the group's name. */
    public static void sendOffsets(Producer<?, ?> producer, Map<TopicPartition, OffsetAndMetadata> offsets, String group, Consumer<?, ?> member) {
        Method metadata = member == null ? null : method(member, "groupMetadata");
        try {
            Class<?> kind = Class.forName("org.apache.kafka.clients.consumer.ConsumerGroupMetadata");
            Object of = metadata != null ? call(metadata, member) : kind.getConstructor(String.class).newInstance(group);
            call(method(producer, "sendOffsetsToTransaction", Map.class, kind), producer, offsets, of);
        } catch (ClassNotFoundException e) {
            call(method(producer, "sendOffsetsToTransaction", Map.class, String.class), producer, offsets, group);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Calls a method that not every version has. */
    public static Object invoke(Object of, String name, Class<?> type, Object argument) {
        return call(method(of, name, type), of, argument);
    }

    public static Object invoke(Object of, String name) {
        return call(method(of, name), of);
    }

    public static boolean has(Object of, String name) {
        return method(of, name) != null;
    }

    public static Object get(Object future) throws Exception {
        return ((Future<?>) future).get();
    }

    public static boolean hasClass(String name) {
        try {
            Class.forName(name);
            return true;
        } catch (ClassNotFoundException e) {
            return false;
        }
    }

    public static Map<String, Object> map(Object... pairs) {
        Map<String, Object> map = new HashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            map.put((String) pairs[i], pairs[i + 1]);
        }
        return map;
    }

    public static Object[] plus(Object[] pairs, Object... more) {
        List<Object> all = new ArrayList<>(List.of(pairs));
        Collection<Object> added = List.of(more);
        all.addAll(added);
        return all.toArray();
    }

    private static Method method(Object of, String name, Class<?>... types) {
        try {
            return of.getClass().getMethod(name, types);
        } catch (NoSuchMethodException e) {
            return null;
        }
    }

    private static Object call(Method method, Object of, Object... arguments) {
        try {
            return method.invoke(of, arguments);
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof RuntimeException known) {
                throw known;
            }
            throw new IllegalStateException(e.getCause());
        } catch (IllegalAccessException e) {
            throw new IllegalStateException(e);
        }
    }
}
