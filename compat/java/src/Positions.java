package trestle.compat;

import static trestle.compat.Basic.bytes;
import static trestle.compat.Basic.text;
import static trestle.compat.Harness.expect;
import static trestle.compat.Harness.freshName;
import static trestle.compat.Harness.newTopic;
import static trestle.compat.Harness.waitFor;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import trestle.compat.Harness.Scenario;

/** Where a consumer is: seeking, pausing, and topics that change under it. */
final class Positions {
    private Positions() {}

    static List<Scenario> scenarios() {
        return List.of(
                new Scenario("seek.offset", Positions::seekOffset),
                new Scenario("seek.time", Positions::seekTime),
                new Scenario("pause.resume", Positions::pauseResume),
                new Scenario("topic.recreated", Positions::recreated));
    }

    private static List<String> numbers(int count) {
        return IntStream.range(0, count).mapToObj(String::valueOf).collect(Collectors.toList());
    }

    /** Reads on until all those came, in that order. */
    private static void until(Consumer<byte[], byte[]> consumer, String... values) throws Exception {
        List<String> left = new ArrayList<>(List.of(values));
        waitFor(() -> "the records " + left, 60, () -> {
            for (ConsumerRecord<byte[], byte[]> record : Client.poll(consumer, 200)) {
                if (!left.isEmpty() && left.get(0).equals(text(record.value()))) {
                    left.remove(0);
                }
            }
            return left.isEmpty();
        });
    }

    private static String seekOffset() throws Exception {
        String topic = newTopic(1);
        Basic.produce(topic, 0, numbers(100));
        try (Consumer<byte[], byte[]> consumer = Client.consumer()) {
            TopicPartition first = new TopicPartition(topic, 0);
            consumer.assign(List.of(first));
            until(consumer, "99");
            consumer.seek(first, 40);
            until(consumer, "40", "99");
            consumer.seekToBeginning(List.of(first));
            until(consumer, "0");
            consumer.seekToEnd(List.of(first));
            expect("the end", consumer.position(first), 100L);
            Basic.produce(topic, 0, List.of("new"));
            until(consumer, "new");
        }
        return "";
    }

    private static String seekTime() throws Exception {
        String topic = newTopic(1);
        try (Client.Sender sender = new Client.Sender()) {
            for (int i = 0; i < 10; i++) {
                sender.send(new ProducerRecord<>(topic, 0, Basic.ORIGIN_MS + 1000L * i, (byte[]) null, bytes("" + i)));
            }
            sender.flushed();
        }
        try (Consumer<byte[], byte[]> consumer = Client.consumer()) {
            TopicPartition first = new TopicPartition(topic, 0);
            consumer.assign(List.of(first));
            until(consumer, "9");
            consumer.seek(first, consumer.offsetsForTimes(java.util.Map.of(first, Basic.ORIGIN_MS + 6500)).get(first).offset());
            until(consumer, "7", "8", "9");
        }
        return "";
    }

    private static String pauseResume() throws Exception {
        String topic = newTopic(2);
        List<List<String>> got = List.of(new ArrayList<>(), new ArrayList<>());
        try (Consumer<byte[], byte[]> consumer = Client.consumer()) {
            consumer.assign(Client.partitions(topic, 2));
            Harness.Condition more = () -> {
                Client.poll(consumer, 200).forEach(r -> got.get(r.partition()).add(text(r.value())));
                return !got.get(0).isEmpty() && !got.get(1).isEmpty();
            };
            for (int p = 0; p < 2; p++) {
                Basic.produce(topic, p, List.of("first"));
            }
            waitFor(() -> "the first records", 60, more);
            consumer.pause(List.of(new TopicPartition(topic, 0)));
            for (int p = 0; p < 2; p++) {
                Basic.produce(topic, p, numbers(20));
            }
            waitFor(() -> "the records of the other partition", 60, () -> more.holds() && got.get(1).size() == 21);
            expect("of the paused partition", got.get(0), List.of("first"));
            consumer.resume(List.of(new TopicPartition(topic, 0)));
            waitFor(() -> "the records of the resumed partition", 60, () -> more.holds() && got.get(0).size() == 21);
        }
        List<String> wanted = new ArrayList<>(List.of("first"));
        wanted.addAll(numbers(20));
        expect("each once, in order", got, List.of(wanted, wanted));
        return "";
    }

    private static Member member(String topic, List<ConsumerRecord<byte[], byte[]>> records) {
        return new Member(freshName("group"), topic, records, true, "metadata.max.age.ms", 1000);
    }

    private static String recreated() throws Exception {
        String topic = newTopic(1);
        List<ConsumerRecord<byte[], byte[]>> records = Member.list();
        try (Member member = member(topic, records)) {
            Basic.produce(topic, 0, List.of("old"));
            waitFor(() -> "the old record", 60, () -> Basic.texts(records).contains("old"));
            Administration.remove(topic);
            waitFor(() -> "its return", 60, () -> {
                try {
                    Administration.create(topic, 1, 1, java.util.Map.of());
                    return true;
                } catch (Exception e) {
                    // By us, or by the consumer's own question for it.
                    Thread.sleep(100);
                    return e.getCause() != null && e.getCause().getClass().getSimpleName().equals("TopicExistsException");
                }
            });
            waitFor(() -> "a new record, " + Basic.texts(records) + " " + member.failed, 90, () -> {
                Basic.produce(topic, 0, List.of("new"));
                Thread.sleep(200);
                return Basic.texts(records).contains("new");
            });
        }
        return "";
    }
}
