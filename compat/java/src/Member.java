package trestle.compat;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;

/** A member of a group that reads in a thread of its own, commits what it has read, and notes what happens to it. */
final class Member implements ConsumerRebalanceListener, AutoCloseable {
    final List<ConsumerRecord<byte[], byte[]>> records;
    /** "+[0, 1]" and "-[1]", in order. */
    final List<String> events = new CopyOnWriteArrayList<>();
    volatile Set<Integer> owned = Set.of();
    volatile Throwable failed;

    private final Consumer<byte[], byte[]> consumer;
    private final boolean commits;
    private final Thread thread;
    private volatile boolean closing;

    /** `records` may be shared by members. */
    Member(String group, String topic, List<ConsumerRecord<byte[], byte[]>> records, boolean commits, Object... pairs) {
        this.records = records;
        this.commits = commits;
        consumer = Client.consumer(Client.plus(pairs, "group.id", group));
        consumer.subscribe(List.of(topic), this);
        thread = new Thread(this::read);
        thread.setDaemon(true);
        thread.start();
    }

    static List<ConsumerRecord<byte[], byte[]>> list() {
        return new CopyOnWriteArrayList<>();
    }

    private void read() {
        try {
            while (!closing) {
                List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
                Client.poll(consumer, 100).forEach(found::add);
                records.addAll(found);
                if (!found.isEmpty() && commits) {
                    commit();
                }
            }
        } catch (Throwable e) {
            failed = e;
        } finally {
            consumer.close();
        }
    }

    /** As long as the broker is away; a commit that a rebalance overtakes is left to the next owner. */
    private void commit() throws InterruptedException {
        while (true) {
            try {
                consumer.commitSync();
                return;
            } catch (CommitFailedException e) {
                return;
            } catch (RetriableException e) {
                if (e.getClass().getSimpleName().equals("RebalanceInProgressException")) {
                    return;
                }
                Thread.sleep(50);
            }
        }
    }

    private static Set<Integer> numbers(Collection<TopicPartition> partitions) {
        return partitions.stream().map(TopicPartition::partition).collect(Collectors.toCollection(TreeSet::new));
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        Set<Integer> now = new TreeSet<>(owned);
        now.addAll(numbers(partitions));
        events.add("+" + numbers(partitions));
        owned = now;
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        Set<Integer> now = new TreeSet<>(owned);
        now.removeAll(numbers(partitions));
        // The first join revokes nothing.
        if (!partitions.isEmpty()) {
            events.add("-" + numbers(partitions));
        }
        owned = now;
    }

    @Override
    public void close() throws InterruptedException {
        closing = true;
        thread.join(60_000);
    }
}
