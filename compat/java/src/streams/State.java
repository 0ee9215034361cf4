package trestle.compat.streams;

import static trestle.compat.Harness.expect;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import trestle.compat.Client;
import trestle.compat.Harness;

/** Kafka Streams with state stores: their changelogs, a lost state directory, repartition topics that are purged. */
public final class State {
    private static final int PARTITIONS = 2;
    private static final int KEYS = 50;

    private final String application = Harness.freshName("state");
    private final Path directory;
    private final AtomicLong restored = new AtomicLong();
    private final Map<String, Long> counts = new TreeMap<>();
    private final Map<String, String> table = new TreeMap<>();
    private final String records;
    private final String facts;
    private int fed;

    private State() throws Exception {
        directory = Files.createTempDirectory("compat-state");
        records = Harness.newTopic(PARTITIONS);
        facts = Harness.newTopic(PARTITIONS);
    }

    /** A table, counts by another key than the records', and the same by windows. */
    private KafkaStreams start() {
        StreamsBuilder builder = new StreamsBuilder();
        Consumed<String, String> consumed = Consumed.with(Serdes.String(), Serdes.String());
        builder.table(facts, consumed, Materialized.as("table"));
        var grouped = builder.stream(records, consumed).groupBy((key, value) -> value, Grouped.with("by-value", Serdes.String(), Serdes.String()));
        grouped.count(Materialized.as("counts"));
        grouped.windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofHours(1))).count(Materialized.as("windows"));
        Properties settings = Client.settings("application.id", application, "num.stream.threads", 2, "commit.interval.ms", 200, "state.dir", directory,
                "replication.factor", 1, "repartition.purge.interval.ms", 200, "consumer.session.timeout.ms", 10_000, "consumer.heartbeat.interval.ms", 500,
                "consumer.auto.offset.reset", "earliest", "topology.optimization", "none");
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setGlobalStateRestoreListener(new StateRestoreListener() {
            @Override
            public void onRestoreStart(TopicPartition partition, String store, long from, long to) {}

            @Override
            public void onBatchRestored(TopicPartition partition, String store, long end, long count) {}

            @Override
            public void onRestoreEnd(TopicPartition partition, String store, long count) {
                restored.addAndGet(count);
            }
        });
        streams.start();
        return streams;
    }

    private void feed(int count) throws Exception {
        try (Client.Sender sender = new Client.Sender()) {
            for (int n = fed; n < fed + count; n++) {
                String value = "value-" + n * 7 % KEYS;
                sender.send(records, n % PARTITIONS, ("key-" + n).getBytes(), value.getBytes());
                counts.merge(value, 1L, Long::sum);
                // Every third name is taken back after it was given twice.
                String name = "fact-" + n / 3 % KEYS;
                boolean gone = n % 9 == 8;
                sender.send(facts, n / 3 % PARTITIONS, name.getBytes(), gone ? null : ("fact " + n).getBytes());
                if (gone) {
                    table.remove(name);
                } else {
                    table.put(name, "fact " + n);
                }
            }
            sender.flushed();
        }
        fed += count;
    }

    private static <V> Map<String, V> contents(KafkaStreams streams, String store) {
        ReadOnlyKeyValueStore<String, V> found = streams.store(StoreQueryParameters.fromNameAndType(store, QueryableStoreTypes.keyValueStore()));
        Map<String, V> contents = new TreeMap<>();
        try (KeyValueIterator<String, V> all = found.all()) {
            while (all.hasNext()) {
                KeyValue<String, V> next = all.next();
                contents.put(next.key, next.value);
            }
        }
        return contents;
    }

    private void settled(KafkaStreams streams) throws Exception {
        Map<?, ?>[] seen = {Map.of(), Map.of()};
        Harness.waitFor(() -> "the stores hold " + seen[0] + " and " + seen[1] + " of " + counts + " and " + table + ", state " + streams.state(), 90, () -> {
            if (streams.state() != KafkaStreams.State.RUNNING) {
                return false;
            }
            try {
                seen[0] = contents(streams, "counts");
                seen[1] = contents(streams, "table");
            } catch (org.apache.kafka.streams.errors.InvalidStateStoreException e) {
                return false;
            }
            return seen[0].equals(counts) && seen[1].equals(table);
        });
    }

    private static void policy(AdminClient admin, String topic, String wanted) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        String found = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("cleanup.policy").value();
        expect("the policy of " + topic, found, wanted);
    }

    private void forget() throws Exception {
        try (Stream<Path> files = Files.walk(directory)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        }
    }

    private String run() throws Exception {
        KafkaStreams streams = start();
        try (AdminClient admin = Client.admin()) {
            feed(2000);
            settled(streams);
            policy(admin, application + "-counts-changelog", "compact");
            policy(admin, application + "-table-changelog", "compact");
            policy(admin, application + "-windows-changelog", "compact,delete");
            String between = application + "-by-value-repartition";
            policy(admin, between, "delete");
            // What has been read of a repartition topic is deleted.
            Harness.waitFor(() -> between + " is purged", 60, () -> {
                long kept = 0;
                for (TopicPartition partition : Client.partitions(between, PARTITIONS)) {
                    long end = admin.listOffsets(Map.of(partition, OffsetSpec.latest())).partitionResult(partition).get().offset();
                    kept += end - admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get().offset();
                }
                return kept == 0;
            });
            streams.close(Duration.ofSeconds(20));

            // All that it knows comes back from the changelogs.
            forget();
            restored.set(0);
            streams = start();
            settled(streams);
            if (restored.get() < KEYS) {
                throw new AssertionError("only " + restored + " records were restored");
            }
            feed(1000);
            settled(streams);
            Harness.control("restart");
            feed(1000);
            settled(streams);
        } finally {
            streams.close(Duration.ofSeconds(20));
            forget();
        }
        return fed + " records, the state directory lost, the broker restarted";
    }

    /** What Main runs. */
    public static List<Harness.Scenario> scenarios() {
        return List.of(new Harness.Scenario("streams.state", () -> new State().run()));
    }
}
