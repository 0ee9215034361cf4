package trestle.compat.streams;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import trestle.compat.Client;
import trestle.compat.Harness;

/** Kafka Streams counts words with exactly_once_v2 while the broker is killed. */
public final class WordCount {
    private static final String[] WORDS = "trestle beam brace truss pier span deck girder".split(" ");
    private static final int PARTITIONS = 2;

    private WordCount() {}

    private static KafkaStreams streams(String application, String source, String sink, Path state) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(source, Consumed.with(Serdes.String(), Serdes.String()))
                .flatMapValues(line -> List.of(line.split(" ")))
                .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
                .count(Materialized.as("counts"))
                .toStream()
                .to(sink, Produced.with(Serdes.String(), Serdes.Long()));
        Properties settings = Client.settings("application.id", application, "processing.guarantee", "exactly_once_v2", "num.stream.threads", 2,
                "commit.interval.ms", 200, "state.dir", state, "replication.factor", 1, "statestore.cache.max.bytes", 0, "consumer.session.timeout.ms", 10_000,
                "consumer.heartbeat.interval.ms", 500, "consumer.auto.offset.reset", "earliest", "consumer.metadata.max.age.ms", 1000,
                "producer.transaction.timeout.ms", 20_000, "producer.max.block.ms", 60_000);
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(e -> StreamThreadExceptionResponse.REPLACE_THREAD);
        return streams;
    }

    /** What Main runs. */
    public static List<Harness.Scenario> scenarios() {
        return List.of(new Harness.Scenario("streams.word-count", WordCount::run));
    }

    private static String run() throws Exception {
        String source = Harness.newTopic(PARTITIONS);
        String sink = Harness.newTopic(1);
        Path state = Files.createTempDirectory("compat-streams");
        KafkaStreams streams = streams(Harness.freshName("words"), source, sink, state);
        Map<String, Long> wanted = new TreeMap<>();
        int killed = 0;
        try {
            streams.start();
            CompletableFuture<Void> feeder = CompletableFuture.runAsync(() -> feed(source, wanted));
            while (!feeder.isDone()) {
                Thread.sleep(4000);
                Harness.control("crash");
                killed++;
            }
            feeder.get();
            Map<String, Long> seen = new HashMap<>();
            Harness.waitFor(() -> "the last counts, " + seen + " of " + wanted, 90, () -> {
                seen.clear();
                seen.putAll(counts(sink));
                return seen.equals(wanted);
            });
        } finally {
            streams.close(java.time.Duration.ofSeconds(20));
            try (Stream<Path> files = Files.walk(state)) {
                files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
            }
        }
        return wanted.values().stream().mapToLong(n -> n).sum() + " words, " + killed + " broker killed";
    }

    private static void feed(String topic, Map<String, Long> wanted) {
        Random random = new Random(7);
        try (Client.Sender sender = new Client.Sender("enable.idempotence", true, "acks", "all")) {
            for (long until = System.nanoTime() + Harness.SECONDS * 1_000_000_000L; System.nanoTime() < until; Thread.sleep(20)) {
                StringBuilder line = new StringBuilder();
                for (int i = 0; i < 5; i++) {
                    String word = WORDS[random.nextInt(WORDS.length)];
                    line.append(i == 0 ? "" : " ").append(word);
                    wanted.merge(word, 1L, Long::sum);
                }
                sender.send(topic, random.nextInt(PARTITIONS), null, line.toString().getBytes());
            }
            sender.flushed();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The last count of each word among what is committed; insists that each word counts 1, 2, 3 and so on. */
    private static Map<String, Long> counts(String sink) {
        Map<String, Long> counts = new TreeMap<>();
        for (ConsumerRecord<byte[], byte[]> record : Client.readCommitted(sink)) {
            String word = new String(record.key());
            long count = Serdes.Long().deserializer().deserialize(sink, record.value());
            Harness.expect("the next count of " + word, count, counts.getOrDefault(word, 0L) + 1);
            counts.put(word, count);
        }
        return counts;
    }
}
