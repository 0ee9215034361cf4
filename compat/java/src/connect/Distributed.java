package trestle.compat.connect;

import static trestle.compat.Harness.expect;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.common.config.ConfigResource;
import trestle.compat.Client;
import trestle.compat.Harness;

/** Connect in distributed mode: lines of a file go into a topic, and from there into another file. */
public final class Distributed implements AutoCloseable {
    private final Path home = Files.createTempDirectory("compat-connect");
    private final Path input = home.resolve("input.txt");
    private final Path output = home.resolve("output.txt");
    private final String topic = Harness.freshName("lines");
    private final List<String> internal = List.of(Harness.freshName("connect-configs"), Harness.freshName("connect-offsets"), Harness.freshName("connect-status"));
    private final Worker worker;
    private final Worker.Rest rest;
    private int lines;

    private Distributed() throws Exception {
        int port = Worker.freePort();
        Map<String, Object> settings = new TreeMap<>();
        settings.put("bootstrap.servers", Harness.BOOTSTRAP);
        settings.put("group.id", Harness.freshName("connect"));
        settings.put("config.storage.topic", internal.get(0));
        settings.put("offset.storage.topic", internal.get(1));
        settings.put("status.storage.topic", internal.get(2));
        for (String kind : List.of("config", "offset", "status")) {
            settings.put(kind + ".storage.replication.factor", 1);
        }
        settings.put("key.converter", "org.apache.kafka.connect.storage.StringConverter");
        settings.put("value.converter", "org.apache.kafka.connect.storage.StringConverter");
        settings.put("listeners", "http://127.0.0.1:" + port);
        settings.put("plugin.discovery", "service_load");
        settings.put("exactly.once.source.support", "enabled");
        settings.put("offset.flush.interval.ms", 500);
        settings.put("session.timeout.ms", 6000);
        settings.put("heartbeat.interval.ms", 500);
        settings.put("scheduled.rebalance.max.delay.ms", 500);
        worker = new Worker("org.apache.kafka.connect.cli.ConnectDistributed", home, settings);
        rest = new Worker.Rest(worker, port);
    }

    @Override
    public void close() throws Exception {
        worker.close();
        for (Path file : Files.list(home).toList()) {
            Files.delete(file);
        }
        Files.delete(home);
    }

    private void feed(int count) throws Exception {
        List<String> added = IntStream.range(lines, lines + count).mapToObj(n -> "line " + n).toList();
        Files.write(input, added, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        lines += count;
    }

    private List<String> fed() {
        return IntStream.range(0, lines).mapToObj(n -> "line " + n).collect(Collectors.toList());
    }

    private void create() throws Exception {
        rest.ready();
        feed(1000);
        rest.change("PUT", "/connectors/source/config", "{\"connector.class\": \"org.apache.kafka.connect.file.FileStreamSourceConnector\", \"tasks.max\": \"1\","
                + " \"file\": \"" + input + "\", \"topic\": \"" + topic + "\", \"exactly.once.support\": \"required\","
                + " \"topic.creation.default.partitions\": \"1\", \"topic.creation.default.replication.factor\": \"-1\"}");
        rest.change("PUT", "/connectors/sink/config", "{\"connector.class\": \"org.apache.kafka.connect.file.FileStreamSinkConnector\", \"tasks.max\": \"1\","
                + " \"file\": \"" + output + "\", \"topics\": \"" + topic + "\","
                + " \"consumer.override.isolation.level\": \"read_committed\", \"consumer.override.metadata.max.age.ms\": \"500\"}");
        rest.running("source");
        rest.running("sink");
    }

    private List<String> written() throws Exception {
        return Files.exists(output) ? Files.readAllLines(output) : List.of();
    }

    private void arrives() throws Exception {
        worker.brings("the sink's file has " + lines + " lines", 90, () -> written().size() >= lines);
        expect("lines in the sink's file", written(), fed());
    }

    private List<String> inTopic() throws Exception {
        List<String> found = new ArrayList<>();
        Client.readCommitted(topic).forEach(record -> found.add(new String(record.value())));
        return found;
    }

    /** Its own topics are compacted, or it would not start; a stopped worker goes on where it was. */
    private String restarted() throws Exception {
        create();
        arrives();
        try (AdminClient admin = Client.admin()) {
            List<ConfigResource> topics = internal.stream().map(name -> new ConfigResource(ConfigResource.Type.TOPIC, name)).toList();
            for (Map.Entry<ConfigResource, Config> topic : admin.describeConfigs(topics).all().get().entrySet()) {
                expect("the policy of " + topic.getKey().name(), topic.getValue().get("cleanup.policy").value(), "compact");
            }
        }
        worker.stop();
        feed(500);
        worker.start();
        rest.ready();
        rest.running("source");
        rest.running("sink");
        arrives();
        expect("lines in the topic", inTopic(), fed());
        rest.change("DELETE", "/connectors/sink", null);
        rest.change("DELETE", "/connectors/source", null);
        worker.brings("connectors are gone", 60, () -> rest.send("GET", "/connectors", null).body().equals("[]"));
        worker.stop();
        return lines + " lines, the worker restarted";
    }

    /** Lines go into the topic exactly once, whatever is killed; into the sink's file at least once. */
    private String killed() throws Exception {
        create();
        arrives();
        Harness.control("crash");
        feed(500);
        arrives();
        worker.kill();
        feed(500);
        worker.start();
        rest.ready();
        rest.running("source");
        Harness.control("crash");
        feed(500);
        Set<String> all = new HashSet<>(fed());
        worker.brings("the sink's file has all of " + lines + " lines", 120, () -> new HashSet<>(written()).containsAll(all));
        expect("lines in the topic", inTopic(), fed());
        return lines + " lines, worker and broker killed";
    }

    private interface Course {
        String run(Distributed connect) throws Exception;
    }

    private static Harness.Body body(Course course) {
        return () -> {
            try (Distributed connect = new Distributed()) {
                return course.run(connect);
            }
        };
    }

    /** What Main runs. */
    public static List<Harness.Scenario> scenarios() {
        return List.of(new Harness.Scenario("connect.file", body(Distributed::restarted)), new Harness.Scenario("connect.killed", body(Distributed::killed)));
    }
}
