package trestle.compat;

import static trestle.compat.Harness.control;
import static trestle.compat.Harness.expect;
import static trestle.compat.Harness.freshName;
import static trestle.compat.Harness.newTopic;
import static trestle.compat.Harness.waitFor;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import trestle.compat.Harness.Scenario;

/** Groups: who has which partitions, and what was read. */
final class Groups {
    private static final int PARTITIONS = 6;
    private static final int SETTLES_S = 60;
    // Longer than any wait here: what is taken over was not taken over because a session ended.
    private static final int SESSION_MS = 60_000;

    private Groups() {}

    static List<Scenario> scenarios() {
        return List.of(
                new Scenario("group.join", () -> join("eager")),
                new Scenario("group.leave", () -> leave("eager")),
                new Scenario("group.kill", Groups::kill),
                new Scenario("group.cooperative", Groups::cooperative),
                new Scenario("group.static", Groups::statics),
                new Scenario("group.kip848", Groups::kip848),
                new Scenario("group.rolling", Groups::rolling),
                new Scenario("group.grow", Groups::grow),
                new Scenario("group.offsets", Groups::offsets),
                new Scenario("group.restart", Groups::restart));
    }

    private static Object[] options(String protocol) {
        String assignor = protocol.equals("cooperative") ? "CooperativeSticky" : "Range";
        return protocol.equals("kip848")
                ? new Object[] {"group.protocol", "consumer"}
                : new Object[] {"session.timeout.ms", SESSION_MS, "heartbeat.interval.ms", 500,
                    "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor + "Assignor"};
    }

    private static void settled(List<Member> members, int seconds) throws Exception {
        waitFor(() -> "each partition with one owner, " + members.stream().map(m -> m.owned + (m.failed == null ? "" : " " + m.failed)).collect(Collectors.toList()), seconds, () -> {
            List<Integer> all = new ArrayList<>();
            boolean none = false;
            for (Member member : members) {
                Set<Integer> owned = member.owned;
                none |= owned.isEmpty();
                all.addAll(owned);
            }
            return !none && all.size() == PARTITIONS && new HashSet<>(all).size() == PARTITIONS;
        });
    }

    /** Numbers from first on, over all partitions. */
    private static int feed(String topic, int first, int count) throws Exception {
        try (Client.Sender sender = new Client.Sender()) {
            for (int i = first; i < first + count; i++) {
                sender.send(topic, i % PARTITIONS, null, Basic.bytes("" + i));
            }
            sender.flushed();
        }
        return first + count;
    }

    private static void eachOnce(List<ConsumerRecord<byte[], byte[]>> records, int count, List<Member> members) throws Exception {
        waitFor(() -> records.size() + " of " + count + " records came " + members.stream().map(m -> m.failed).filter(f -> f != null).collect(Collectors.toList()),
                60, () -> records.size() >= count);
        List<Integer> numbers = Basic.texts(records).stream().map(Integer::parseInt).sorted().collect(Collectors.toList());
        expect("records", numbers, IntStream.range(0, count).boxed().collect(Collectors.toList()));
    }

    /** They join one after the other, each when the others have settled. */
    private static List<Member> members(int count, String group, String topic, List<ConsumerRecord<byte[], byte[]>> records, String protocol) throws Exception {
        List<Member> members = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            // The last one is for restarts, which take Apache Kafka long.
            members.add(new Member(group, topic, records, true, protocol.equals("patient") ? Client.plus(options("eager"), "session.timeout.ms", 4 * SESSION_MS, "request.timeout.ms", 5 * SESSION_MS) : options(protocol)));
            settled(members, SETTLES_S);
        }
        return members;
    }

    private static void close(List<Member> members) throws Exception {
        for (Member member : members) {
            member.close();
        }
    }

    private static String join(String protocol) throws Exception {
        String topic = newTopic(PARTITIONS);
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        String group = freshName("group");
        List<Member> members = members(3, group, topic, records, protocol);
        try {
            expect("sizes", members.stream().map(m -> m.owned.size()).collect(Collectors.toList()), List.of(2, 2, 2));
            eachOnce(records, feed(topic, 0, 600), members);
            // DescribeGroups knows classic groups only.
            expect("the group is a classic one", !control("group", group).contains("Dead"), !protocol.equals("kip848"));
        } finally {
            close(members);
        }
        return "";
    }

    private static String leave(String protocol) throws Exception {
        String topic = newTopic(PARTITIONS);
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        List<Member> members = members(3, freshName("group"), topic, records, protocol);
        long took;
        try {
            eachOnce(records, feed(topic, 0, 600), members);
            long began = System.nanoTime();
            members.remove(2).close();
            settled(members, 40);
            took = (System.nanoTime() - began) / 1_000_000;
            eachOnce(records, feed(topic, 600, 600), members);
        } finally {
            close(members);
        }
        return "taken over after " + took + " ms";
    }

    private static void needKip848() throws Harness.NotAvailable {
        if (!Client.hasClass("org.apache.kafka.clients.consumer.GroupProtocol")) {
            throw new Harness.NotAvailable("KIP-848 came with 3.7");
        }
        if (System.getenv("COMPAT_VERSION").startsWith("3.")) {
            throw new Harness.NotAvailable("KIP-848 in 3.x is a preview that Kafka 4 does not take either");
        }
    }

    private static String kip848() throws Exception {
        needKip848();
        join("kip848");
        return leave("kip848");
    }

    private static boolean isClassic(String group) throws Exception {
        // DescribeGroups knows classic groups only.
        return !control("group", group).contains("Dead");
    }

    /** Member by member, each new one beside the old ones, to KIP-848 and back. */
    private static String rolling() throws Exception {
        needKip848();
        String topic = newTopic(PARTITIONS);
        String group = freshName("group");
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        List<Member> members = members(2, group, topic, records, "eager");
        try {
            int count = 0;
            for (String protocol : List.of("kip848", "eager")) {
                for (int i = 0; i < 2; i++) {
                    members.add(new Member(group, topic, records, true, options(protocol)));
                    settled(members, SETTLES_S);
                    count = feed(topic, count, 300);
                    eachOnce(records, count, members);
                    // While a member of the new protocol is there the group is no classic one.
                    expect("the group is a classic one", isClassic(group), false);
                    members.remove(0).close();
                    settled(members, SETTLES_S);
                    count = feed(topic, count, 300);
                    eachOnce(records, count, members);
                }
                expect("the group is a classic one", isClassic(group), protocol.equals("eager"));
            }
        } finally {
            close(members);
        }
        return "";
    }

    /** A topic gets partitions under the members of a group. */
    private static String grow() throws Exception {
        String topic = newTopic(PARTITIONS / 2);
        String group = freshName("group");
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        List<Member> members = new ArrayList<>();
        double took;
        try {
            for (int i = 0; i < 2; i++) {
                members.add(new Member(group, topic, records, true, Client.plus(options("eager"), "metadata.max.age.ms", 1000)));
            }
            waitFor(() -> "half of the partitions " + members.stream().map(m -> m.failed).collect(Collectors.toList()), SETTLES_S,
                    () -> members.stream().mapToInt(m -> m.owned.size()).sum() == PARTITIONS / 2);
            control("grow", topic, PARTITIONS);
            long began = System.nanoTime();
            // Before anybody knows of them.
            int count = feed(topic, 0, 300);
            settled(members, SETTLES_S);
            took = (System.nanoTime() - began) / 1e9;
            eachOnce(records, count, members);
        } finally {
            close(members);
        }
        return String.format("known after %.1f s", took);
    }

    private static String kill() throws Exception {
        String topic = newTopic(PARTITIONS);
        String group = freshName("group");
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        Member member = new Member(group, topic, records, true, "session.timeout.ms", 6000, "heartbeat.interval.ms", 500);
        String java = ProcessHandle.current().info().command().orElse("java");
        Process other = new ProcessBuilder(java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
                "-cp", System.getProperty("java.class.path"), "trestle.compat.Main", "member", group, topic)
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        double took;
        try {
            BufferedReader said = new BufferedReader(new InputStreamReader(other.getInputStream()));
            String half = "";
            while (half != null && half.split(",").length != PARTITIONS / 2) {
                half = said.readLine();
            }
            waitFor(() -> "the other half", SETTLES_S, () -> member.owned.size() == PARTITIONS / 2);
            Set<Integer> all = new TreeSet<>(member.owned);
            for (String one : half.replaceAll("[\\[\\] ]", "").split(",")) {
                all.add(Integer.parseInt(one));
            }
            expect("owned by one or the other", all.size(), PARTITIONS);
            long began = System.nanoTime();
            other.destroyForcibly();
            settled(List.of(member), SETTLES_S);
            took = (System.nanoTime() - began) / 1e9;
            eachOnce(records, feed(topic, 0, 600), List.of(member));
        } finally {
            other.destroyForcibly().waitFor();
            member.close();
        }
        expect("not before the session's end", took > 3, true);
        return String.format("taken over after %.1f s, the session was 6 s", took);
    }

    /** What kill kills: a member that says what it owns. */
    static void child(String group, String topic) throws Exception {
        Member member = new Member(group, topic, Member.list(), true, "session.timeout.ms", 6000, "heartbeat.interval.ms", 500);
        Set<Integer> said = null;
        ProcessHandle parent = ProcessHandle.current().parent().orElseThrow();
        while (member.failed == null && parent.isAlive()) {
            Set<Integer> now = member.owned;
            if (!now.equals(said)) {
                System.out.println(now);
                System.out.flush();
                said = now;
            }
            Thread.sleep(50);
        }
        Runtime.getRuntime().halt(1);
    }

    private static String cooperative() throws Exception {
        if (!Client.hasClass("org.apache.kafka.clients.consumer.CooperativeStickyAssignor")) {
            throw new Harness.NotAvailable("cooperative rebalancing came with 2.4");
        }
        String topic = newTopic(PARTITIONS);
        String group = freshName("group");
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        List<Member> members = members(2, group, topic, records, "cooperative");
        try {
            List<Set<Integer>> before = List.of(members.get(0).owned, members.get(1).owned);
            List<Integer> seen = List.of(members.get(0).events.size(), members.get(1).events.size());
            members.add(new Member(group, topic, records, true, options("cooperative")));
            settled(members, SETTLES_S);
            for (int i = 0; i < 2; i++) {
                Set<Integer> lost = new TreeSet<>(before.get(i));
                lost.removeAll(members.get(i).owned);
                List<String> revoked = members.get(i).events.stream().skip(seen.get(i)).filter(e -> e.startsWith("-")).collect(Collectors.toList());
                expect("what member " + i + " gave up", revoked, lost.isEmpty() ? List.of() : List.of("-" + lost));
            }
            eachOnce(records, feed(topic, 0, 600), members);
        } finally {
            close(members);
        }
        return "";
    }

    private static String statics() throws Exception {
        if (!Client.hasClass("org.apache.kafka.common.errors.FencedInstanceIdException")) {
            throw new Harness.NotAvailable("static membership came with 2.3");
        }
        String topic = newTopic(PARTITIONS);
        String group = freshName("group");
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        List<Member> members = new ArrayList<>();
        for (String instance : List.of("a", "b")) {
            members.add(new Member(group, topic, records, true, Client.plus(options("eager"), "group.instance.id", instance)));
        }
        try {
            settled(members, SETTLES_S);
            List<Set<Integer>> before = List.of(members.get(0).owned, members.get(1).owned);
            eachOnce(records, feed(topic, 0, 600), members);
            List<String> seen = List.copyOf(members.get(0).events);
            members.remove(1).close();
            members.add(new Member(group, topic, records, true, Client.plus(options("eager"), "group.instance.id", "b")));
            settled(members, SETTLES_S);
            expect("partitions", List.of(members.get(0).owned, members.get(1).owned), before);
            eachOnce(records, feed(topic, 600, 600), members);
            expect("what the other member noticed", List.copyOf(members.get(0).events), seen);
        } finally {
            close(members);
        }
        return "";
    }

    private static ConsumerRecord<byte[], byte[]> first(String group, String topic, String reset) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        try (Member member = new Member(group, topic, records, false, "auto.offset.reset", reset)) {
            waitFor(() -> "an assignment " + member.failed, SETTLES_S, () -> member.owned.size() == 1);
            waitFor(() -> "a record " + member.failed, SETTLES_S, () -> {
                if (reset.equals("latest") && records.isEmpty()) {
                    Basic.produce(topic, 0, List.of("new"));
                    Thread.sleep(100);
                }
                return !records.isEmpty();
            });
        }
        return records.get(0);
    }

    private static String offsets() throws Exception {
        String topic = newTopic(1);
        String group = freshName("group");
        Basic.produce(topic, 0, IntStream.range(0, 10).mapToObj(i -> "" + i).collect(Collectors.toList()));
        expect("no commit", Client.committed(group, topic, 0), null);
        Client.commit(group, topic, 0, 5, "a note");
        OffsetAndMetadata found = Client.committed(group, topic, 0);
        expect("commit", found.offset() + found.metadata(), "5a note");
        expect("another group", Client.committed(freshName("group"), topic, 0), null);
        expect("earliest with a commit", first(group, topic, "earliest").offset(), 5L);
        expect("earliest without", first(freshName("group"), topic, "earliest").offset(), 0L);
        expect("latest without", Basic.text(first(freshName("group"), topic, "latest").value()), "new");
        Client.commit(group, topic, 0, 2, "");
        expect("after a reset", first(group, topic, "earliest").offset(), 2L);
        return "";
    }

    private static String restart() throws Exception {
        String topic = newTopic(PARTITIONS);
        String group = freshName("group");
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        List<Member> members = members(2, group, topic, records, "patient");
        try {
            int count = feed(topic, 0, 300);
            eachOnce(records, count, members);
            String ids = control("group", group);
            List<List<String>> seen = members.stream().map(m -> List.copyOf(m.events)).collect(Collectors.toList());
            for (String how : List.of("restart", "crash")) {
                control(how);
                count = feed(topic, count, 300);
                eachOnce(records, count, members);
            }
            settled(members, SETTLES_S);
            expect("members", control("group", group), ids);
            // A leader that sees other metadata than before joins again by itself, and Kafka shows it some while it starts.
            boolean again = !members.stream().map(m -> List.copyOf(m.events)).collect(Collectors.toList()).equals(seen);
            return again ? "this client's members join again by themselves, under their old ids" : "";
        } finally {
            close(members);
        }
    }
}
