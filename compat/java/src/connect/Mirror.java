package trestle.compat.connect;

import static trestle.compat.Harness.expect;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.internals.RecordHeaders;
import trestle.compat.Client;
import trestle.compat.Harness;

/** MirrorMaker 2 from this broker to another one of its kind: topics, their settings, records, offsets of groups. */
public final class Mirror {
    private static final int PARTITIONS = 2;

    private Mirror() {}

    private static Map<String, Object> settings(String target, String topics, String groups) {
        Map<String, Object> settings = new TreeMap<>();
        settings.put("clusters", "near, far");
        settings.put("near.bootstrap.servers", Harness.BOOTSTRAP);
        settings.put("far.bootstrap.servers", target);
        settings.put("near->far.enabled", true);
        settings.put("far->near.enabled", false);
        settings.put("near->far.topics", topics);
        settings.put("near->far.groups", groups);
        for (String kind : List.of("", "checkpoints.topic.", "heartbeats.topic.", "offset-syncs.topic.", "offset.storage.", "status.storage.", "config.storage.")) {
            settings.put(kind + "replication.factor", 1);
        }
        for (String task : List.of("refresh.topics", "refresh.groups", "sync.topic.configs", "emit.checkpoints", "emit.heartbeats", "sync.group.offsets")) {
            settings.put(task + ".interval.seconds", 1);
        }
        settings.put("sync.group.offsets.enabled", true);
        settings.put("offset.lag.max", 0);
        settings.put("offset.flush.interval.ms", 500);
        settings.put("scheduled.rebalance.max.delay.ms", 500);
        settings.put("producer.linger.ms", 0);
        settings.put("near.consumer.metadata.max.age.ms", 1000);
        return settings;
    }

    private static void feed(String topic, int partitions, int from, int count) throws Exception {
        try (Client.Sender sender = new Client.Sender()) {
            for (int n = from; n < from + count; n++) {
                RecordHeaders headers = new RecordHeaders();
                headers.add("n", ("" + n).getBytes());
                headers.add("nothing", null);
                byte[] value = n % 10 == 0 ? null : ("value " + n).getBytes();
                sender.send(new ProducerRecord<>(topic, n % partitions, 1_700_000_000_000L + n, ("key " + n % 7).getBytes(), value, headers));
            }
            sender.flushed();
        }
    }

    /** Key, value, headers and timestamp of all records, by partition. */
    private static Map<Integer, List<String>> records(String broker, String topic, int partitions) {
        Map<Integer, List<String>> found = new TreeMap<>();
        try (Consumer<byte[], byte[]> consumer = Client.consumer("bootstrap.servers", broker)) {
            List<TopicPartition> all = Client.partitions(topic, partitions);
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            while (all.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                for (ConsumerRecord<byte[], byte[]> record : Client.poll(consumer, 200)) {
                    List<String> text = new ArrayList<>(List.of(record.timestampType() + " " + record.timestamp(), Arrays.toString(record.key()), Arrays.toString(record.value())));
                    record.headers().forEach(header -> text.add(header.key() + "=" + Arrays.toString(header.value())));
                    found.computeIfAbsent(record.partition(), p -> new ArrayList<>()).add(text.toString());
                }
            }
        }
        return found;
    }

    private static void mirrored(Worker mirror, String target, String topic, int partitions) throws Exception {
        Map<Integer, List<String>> wanted = records(Harness.BOOTSTRAP, topic, partitions);
        int[] sizes = {0, wanted.values().stream().mapToInt(List::size).sum()};
        Map<Integer, List<String>> found = new HashMap<>();
        try (AdminClient admin = AdminClient.create(Client.settings("bootstrap.servers", target))) {
            mirror.brings("all records in near." + topic, 90, () -> {
                try {
                    if (admin.describeTopics(List.of("near." + topic)).allTopicNames().get().get("near." + topic).partitions().size() < partitions) {
                        return false;
                    }
                } catch (java.util.concurrent.ExecutionException e) {
                    return false;
                }
                found.clear();
                found.putAll(records(target, "near." + topic, partitions));
                sizes[0] = found.values().stream().mapToInt(List::size).sum();
                return sizes[0] >= sizes[1];
            });
        }
        expect("records of near." + topic, found, wanted);
    }

    private static String run() throws Exception {
        String target = Harness.control("another").replaceAll(".*\"ok\": \"([^\"]*)\".*", "$1");
        String topic = Harness.freshName("mirror");
        String group = Harness.freshName("mirror-group");
        Path home = Files.createTempDirectory("compat-mirror");
        try (AdminClient near = Client.admin(); AdminClient far = AdminClient.create(Client.settings("bootstrap.servers", target))) {
            NewTopic made = new NewTopic(topic, PARTITIONS, (short) 1).configs(Map.of("cleanup.policy", "compact", "max.message.bytes", "654321", "min.cleanable.dirty.ratio", "1.0"));
            near.createTopics(List.of(made)).all().get();
            feed(topic, PARTITIONS, 0, 1000);
            try (Worker mirror = new Worker("org.apache.kafka.connect.mirror.MirrorMaker", home, settings(target, topic, group))) {
                mirrored(mirror, target, topic, PARTITIONS);
                ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, "near." + topic);
                Config config = far.describeConfigs(List.of(resource)).all().get().get(resource);
                expect("settings of the mirror", List.of(config.get("cleanup.policy").value(), config.get("max.message.bytes").value()), List.of("compact", "654321"));

                // A group's offsets are translated: here both sides count alike.
                near.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(500), new TopicPartition(topic, 1), new OffsetAndMetadata(500))).all().get();
                mirror.brings("the group's offsets", 60, () -> {
                    Map<TopicPartition, OffsetAndMetadata> offsets = far.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                    return Client.partitions("near." + topic, PARTITIONS).stream().allMatch(p -> offsets.get(p) != null && offsets.get(p).offset() == 500);
                });

                near.createPartitions(Map.of(topic, NewPartitions.increaseTo(PARTITIONS + 1))).all().get();
                feed(topic, PARTITIONS + 1, 1000, 300);
                mirrored(mirror, target, topic, PARTITIONS + 1);

                mirror.stop();
                feed(topic, PARTITIONS + 1, 1300, 300);
                mirror.start();
                mirrored(mirror, target, topic, PARTITIONS + 1);

                Harness.control("restart");
                feed(topic, PARTITIONS + 1, 1600, 300);
                mirrored(mirror, target, topic, PARTITIONS + 1);
            }
        } finally {
            for (Path file : Files.list(home).toList()) {
                Files.delete(file);
            }
            Files.delete(home);
        }
        return "1900 records, restarts of the mirror and of its source";
    }

    /** What Main runs. */
    public static List<Harness.Scenario> scenarios() {
        return List.of(new Harness.Scenario("mirror.topics", Mirror::run));
    }
}
