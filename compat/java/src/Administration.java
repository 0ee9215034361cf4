package trestle.compat;

import static trestle.compat.Harness.control;
import static trestle.compat.Harness.expect;
import static trestle.compat.Harness.freshName;
import static trestle.compat.Harness.newTopic;
import static trestle.compat.Harness.waitFor;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import trestle.compat.Harness.Scenario;

/** Administration, and what a user reads when something is wrong. What changed its name since 1.1 is called by reflection. */
final class Administration {
    private Administration() {}

    static List<Scenario> scenarios() {
        return List.of(
                new Scenario("metadata.by-id", Administration::byId),
                new Scenario("admin.topics", Administration::topics),
                new Scenario("admin.configs", Administration::configs),
                new Scenario("admin.partitions", Administration::partitions),
                new Scenario("admin.delete-records", Administration::deleteRecords),
                new Scenario("admin.groups", Administration::groups),
                new Scenario("admin.offsets", Administration::offsets),
                new Scenario("admin.cluster", Administration::cluster),
                new Scenario("errors.names", Administration::names),
                new Scenario("errors.topics", Administration::wrongTopics),
                new Scenario("errors.configs", Administration::wrongConfigs),
                new Scenario("errors.port", Administration::port),
                new Scenario("errors.advertised", Administration::advertised));
    }

    private interface Question<T> {
        T ask(AdminClient admin) throws Exception;
    }

    private static <T> T asked(Question<T> question, Object... settings) throws Exception {
        try (AdminClient admin = AdminClient.create(Client.settings(settings))) {
            return question.ask(admin);
        }
    }

    static void create(String topic, int partitions, int replicas, Map<String, String> configs) throws Exception {
        asked(a -> a.createTopics(List.of(new NewTopic(topic, partitions, (short) replicas).configs(configs))).all().get());
    }

    static void remove(String topic) throws Exception {
        asked(a -> a.deleteTopics(List.of(topic)).all().get());
    }

    static void grow(String topic, int partitions) throws Exception {
        asked(a -> a.createPartitions(Map.of(topic, NewPartitions.increaseTo(partitions))).all().get());
    }

    private static boolean exists(String topic) throws Exception {
        return asked(a -> a.listTopics().names().get().contains(topic));
    }

    private static ConfigResource resource(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    private static String config(String topic, String name) throws Exception {
        Config found = asked(a -> a.describeConfigs(List.of(resource(topic))).all().get().get(resource(topic)));
        return found.get(name).value();
    }

    /** incrementalAlterConfigs came with 2.3, alterConfigs went with 4.0. */
    private static void alter(String topic, Map<String, String> configs) throws Exception {
        List<Object> entries = new ArrayList<>();
        asked(a -> {
            Object result;
            if (Client.hasClass("org.apache.kafka.clients.admin.AlterConfigOp")) {
                Class<?> op = Class.forName("org.apache.kafka.clients.admin.AlterConfigOp");
                Class<?> kind = Class.forName("org.apache.kafka.clients.admin.AlterConfigOp$OpType");
                for (Map.Entry<String, String> one : configs.entrySet()) {
                    entries.add(op.getConstructor(ConfigEntry.class, kind).newInstance(new ConfigEntry(one.getKey(), one.getValue()), kind.getField("SET").get(null)));
                }
                result = Client.invoke(a, "incrementalAlterConfigs", Map.class, Map.of(resource(topic), entries));
            } else {
                Collection<ConfigEntry> all = configs.entrySet().stream().map(e -> new ConfigEntry(e.getKey(), e.getValue())).collect(Collectors.toList());
                result = Client.invoke(a, "alterConfigs", Map.class, Map.of(resource(topic), new Config(all)));
            }
            return Client.get(Client.invoke(result, "all"));
        });
    }

    private static void deleteGroup(String group) throws Exception {
        asked(a -> Client.get(Client.invoke(Client.invoke(a, "deleteConsumerGroups", Collection.class, List.of(group)), "all")));
    }

    private static void deleteRecords(String topic, long before) throws Exception {
        asked(a -> a.deleteRecords(Map.of(new TopicPartition(topic, 0), RecordsToDelete.beforeOffset(before))).all().get());
    }

    // --- scenarios ---

    private static String byId() throws Exception {
        if (!Client.hasClass("org.apache.kafka.common.TopicCollection")) {
            throw new Harness.NotAvailable("topics are described by name");
        }
        String topic = newTopic(3);
        Object named = asked(a -> Client.get(((Map<?, ?>) Client.invoke(Client.invoke(a, "describeTopics", Collection.class, List.of(topic)), "topicNameValues")).get(topic)));
        Object id = Client.invoke(named, "topicId");
        Class<?> kind = Class.forName("org.apache.kafka.common.TopicCollection");
        Object wanted = kind.getMethod("ofTopicIds", Collection.class).invoke(null, List.of(id));
        Object found = asked(a -> Client.get(((Map<?, ?>) Client.invoke(Client.invoke(a, "describeTopics", kind, wanted), "topicIdValues")).get(id)));
        expect("name", Client.invoke(found, "name"), topic);
        expect("partitions", ((List<?>) Client.invoke(found, "partitions")).size(), 3);
        return "";
    }

    private static String topics() throws Exception {
        String topic = freshName("compat");
        create(topic, 3, 1, Map.of("retention.ms", "3600000"));
        waitFor(() -> "the topic", 60, () -> exists(topic));
        expect("partitions", Client.asked(c -> c.partitionsFor(topic).size()), 3);
        Basic.produce(topic, 2, List.of("one"));
        remove(topic);
        waitFor(() -> "its end", 60, () -> !exists(topic));
        return "";
    }

    private static String configs() throws Exception {
        String topic = freshName("compat");
        create(topic, 1, 1, Map.of("retention.ms", "3600000"));
        waitFor(() -> "the topic", 60, () -> exists(topic));
        expect("as created", config(topic, "retention.ms"), "3600000");
        expect("a default", config(topic, "cleanup.policy"), "delete");
        alter(topic, Map.of("retention.ms", "7200000", "max.message.bytes", "2000000"));
        waitFor(() -> "the change", 60, () -> config(topic, "retention.ms").equals("7200000"));
        expect("the other", config(topic, "max.message.bytes"), "2000000");
        return "";
    }

    private static String partitions() throws Exception {
        String topic = newTopic(2);
        Basic.produce(topic, 1, List.of("one"));
        grow(topic, 5);
        waitFor(() -> "five partitions", 60, () -> Client.asked(c -> c.partitionsFor(topic)).stream().filter(p -> p.leader() != null).count() == 5);
        Basic.produce(topic, 4, List.of("two"));
        expect("values", Basic.texts(Client.read(topic, 5)).stream().sorted().collect(Collectors.toList()), List.of("one", "two"));
        return "";
    }

    private static String deleteRecords() throws Exception {
        String topic = newTopic(1);
        Basic.produce(topic, 0, List.of("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"));
        deleteRecords(topic, 6);
        TopicPartition first = new TopicPartition(topic, 0);
        expect("the start", Client.asked(c -> c.beginningOffsets(List.of(first)).get(first)), 6L);
        expect("values", Basic.values(topic), List.of("6", "7", "8", "9"));
        return "";
    }

    private static String described(String group) throws Exception {
        Object found = asked(a -> Client.get(((Map<?, ?>) Client.invoke(Client.invoke(a, "describeConsumerGroups", Collection.class, List.of(group)), "describedGroups")).get(group)));
        Object state = Client.has(found, "groupState") ? Client.invoke(found, "groupState") : Client.invoke(found, "state");
        return state.toString().toUpperCase(Locale.ROOT) + " " + ((Collection<?>) Client.invoke(found, "members")).size();
    }

    private static boolean listed(String group) throws Exception {
        Collection<?> all = asked(a -> (Collection<?>) Client.get(Client.invoke(Client.invoke(a, "listConsumerGroups"), "valid")));
        return all.stream().anyMatch(one -> Client.invoke(one, "groupId").equals(group));
    }

    private static String groups() throws Exception {
        if (!Client.hasClass("org.apache.kafka.clients.admin.ConsumerGroupDescription")) {
            throw new Harness.NotAvailable("groups are administered since 2.0");
        }
        String topic = newTopic(1);
        String group = freshName("group");
        Basic.produce(topic, 0, List.of("one"));
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        try (Member member = new Member(group, topic, records, true)) {
            waitFor(() -> "the record " + member.failed, 60, () -> !records.isEmpty());
            expect("listed", listed(group), true);
            waitFor(() -> "the commit", 60, () -> {
                OffsetAndMetadata found = Client.committed(group, topic, 0);
                return found != null && found.offset() == 1;
            });
            expect("described", described(group), "STABLE 1");
        }
        waitFor(() -> "an empty group", 60, () -> described(group).equals("EMPTY 0"));
        deleteGroup(group);
        waitFor(() -> "its end", 60, () -> !listed(group));
        return "";
    }

    private static String offsets() throws Exception {
        String topic = newTopic(2);
        Basic.produce(topic, 0, List.of("0", "1", "2"));
        List<TopicPartition> both = Client.partitions(topic, 2);
        expect("starts", Client.asked(c -> c.beginningOffsets(both)), Map.of(both.get(0), 0L, both.get(1), 0L));
        expect("ends", Client.asked(c -> c.endOffsets(both)), Map.of(both.get(0), 3L, both.get(1), 0L));
        return "";
    }

    private static String cluster() throws Exception {
        asked(a -> {
            DescribeClusterResult found = a.describeCluster();
            List<Node> nodes = new ArrayList<>(found.nodes().get());
            expect("brokers", nodes.stream().map(n -> n.host() + ":" + n.port()).collect(Collectors.toList()), List.of(Harness.BOOTSTRAP));
            expect("an id", found.clusterId().get().length() > 10, true);
            expect("the controller", found.controller().get().id(), nodes.get(0).id());
            return null;
        });
        return "";
    }

    // --- errors ---

    private interface Call {
        void run() throws Exception;
    }

    /** Notes what the client says. */
    private static void said(String name, Call call) {
        String text = "no error";
        try {
            call.run();
        } catch (Throwable e) {
            Throwable cause = e;
            while ((cause instanceof ExecutionException || cause instanceof IllegalStateException) && cause.getCause() != null) {
                cause = cause.getCause();
            }
            text = cause.getClass().getSimpleName() + ": " + cause.getMessage();
        }
        Harness.said(name, text);
    }

    private static String names() {
        said("a space", () -> create("a name", 1, 1, Map.of()));
        said("one dot", () -> create(".", 1, 1, Map.of()));
        said("empty", () -> create("", 1, 1, Map.of()));
        said("250 letters", () -> create("n".repeat(250), 1, 1, Map.of()));
        said("not ASCII", () -> create("gr\u00f6\u00dfe", 1, 1, Map.of()));
        said("produce to a space", () -> Basic.produce("a name", null, List.of("nowhere"), "max.block.ms", 5000));
        said("consume from a space", () -> Client.asked(c -> c.partitionsFor("a name")));
        return "";
    }

    private static String wrongTopics() throws Exception {
        String topic = newTopic(2);
        Basic.produce(topic, 0, List.of("one"));
        said("create: taken", () -> create(topic, 1, 1, Map.of()));
        said("create: no partitions", () -> create(freshName("compat"), 0, 1, Map.of()));
        said("delete: unknown", () -> remove("nowhere"));
        said("grow: unknown", () -> grow("nowhere", 3));
        said("grow: fewer", () -> grow(topic, 1));
        said("grow: the same", () -> grow(topic, 2));
        said("configs: unknown", () -> config("nowhere", "retention.ms"));
        said("delete records: after the end", () -> deleteRecords(topic, 2));
        if (Client.hasClass("org.apache.kafka.clients.admin.ConsumerGroupDescription")) {
            said("delete group: unknown", () -> deleteGroup("nobody"));
        }
        return "";
    }

    private static String wrongConfigs() throws Exception {
        String topic = newTopic(1);
        said("create: unknown", () -> create(freshName("compat"), 1, 1, Map.of("no.such", "1")));
        said("create: not a number", () -> create(freshName("compat"), 1, 1, Map.of("retention.ms", "long")));
        said("create: too small", () -> create(freshName("compat"), 1, 1, Map.of("retention.ms", "-2")));
        said("create: not one of a list", () -> create(freshName("compat"), 1, 1, Map.of("cleanup.policy", "keep")));
        said("alter: unknown", () -> alter(topic, Map.of("no.such", "1")));
        said("alter: not a number", () -> alter(topic, Map.of("max.message.bytes", "many")));
        said("alter: unknown topic", () -> alter("nowhere", Map.of("retention.ms", "1000")));
        return "";
    }

    private static String port() throws Exception {
        said("nobody listens", () -> asked(a -> a.listTopics().names().get(), AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, "127.0.0.1:1", "request.timeout.ms", 2000, "default.api.timeout.ms", 2000));
        return "";
    }

    private static String advertised() throws Exception {
        String topic = newTopic(1);
        control("settings", "advertised.listeners=PLAINTEXT://127.0.0.1:1");
        try {
            try (Client.Sender sender = new Client.Sender("request.timeout.ms", 1500, "delivery.timeout.ms", 3000, "max.block.ms", 3000, "linger.ms", 0, "retries", 0, "enable.idempotence", false)) {
                sender.send(topic, 0, null, Basic.bytes("nowhere"));
                Harness.said("produce", String.join(" ", sender.flush()));
            }
            return "";
        } finally {
            control("settings");
        }
    }
}
