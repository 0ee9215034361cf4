import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What the programs look at: a member of a group that stays (hold member GROUP TOPIC PROTOCOL), a transaction that
 * stays open (hold transaction ID TOPIC), until they are let go (hold release).
 */
public class Hold {
    private static final List<AutoCloseable> HELD = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        List<String> words = new ArrayList<>(List.of(arguments));
        Properties settings = new Properties();
        settings.put("bootstrap.servers", words.remove(words.indexOf("--bootstrap-server") + 1));
        words.remove("--bootstrap-server");
        switch (words.get(0)) {
            case "member" -> HELD.add(new Member(settings, words.get(1), words.get(2), words.get(3)));
            case "transaction" -> HELD.add(transaction(settings, words.get(1), words.get(2)));
            case "release" -> {
                for (AutoCloseable held : HELD) {
                    held.close();
                }
                HELD.clear();
            }
            default -> throw new IllegalArgumentException(words.get(0));
        }
    }

    private static AutoCloseable transaction(Properties settings, String id, String topic) throws Exception {
        settings.put("transactional.id", id);
        settings.put("client.id", "held");
        KafkaProducer<String, String> producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, "pending")).get();
        // Closing would abort it; with no time to do so it is left as it is.
        return () -> producer.close(Duration.ZERO);
    }

    /** Polls in a thread of its own, and is there once it has partitions. */
    private static final class Member implements AutoCloseable {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Thread thread;
        private volatile boolean closing;
        private volatile boolean assigned;

        Member(Properties settings, String group, String topic, String protocol) throws Exception {
            settings.put("group.id", group);
            settings.put("client.id", "held");
            settings.put("group.protocol", protocol);
            settings.put("auto.offset.reset", "earliest");
            settings.put("enable.auto.commit", "false");
            consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            consumer.subscribe(List.of(topic));
            thread = new Thread(this::poll);
            thread.setDaemon(true);
            thread.start();
            while (!assigned) {
                Thread.sleep(20);
            }
        }

        private void poll() {
            while (!closing) {
                consumer.poll(Duration.ofMillis(50));
                if (!assigned && !consumer.assignment().isEmpty()) {
                    // As if it had read nothing yet.
                    consumer.commitSync(consumer.assignment().stream().collect(Collectors.toMap(p -> p, p -> new OffsetAndMetadata(0))));
                    assigned = true;
                }
            }
            consumer.close();
        }

        @Override
        public void close() throws Exception {
            closing = true;
            thread.join();
        }
    }
}
