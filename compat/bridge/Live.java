import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Live BOOTSTRAP DIRECTORY PHASE: producers and consumers that run for as long as nobody says otherwise. What was
 * acknowledged goes to DIRECTORY/acked-TOPIC, what was read to DIRECTORY/read-TOPIC-PHASE as "PARTITION OFFSET EPOCH VALUE".
 * Commands come by lines: "consumers" ends the consumers, which commit first; "producers" the producers;
 * "trim TOPIC PARTITION OFFSET" deletes records; "drain" waits until the consumers have read everything. Each is answered with "done".
 */
class Live {
  private final String bootstrap;
  private final Path directory;
  private final String phase;
  private volatile boolean producing = true;
  private volatile boolean consuming = true;
  private final Map<String, Drain> drains = new HashMap<>();

  /** How far a consumer is. */
  private static class Drain {
    volatile boolean asked;
    volatile boolean done;
  }

  Live(String bootstrap, String directory, String phase) {
    this.bootstrap = bootstrap;
    this.directory = Path.of(directory);
    this.phase = phase;
  }

  public static void main(String[] args) throws Exception {
    new Live(args[0], args[1], args[2]).run();
    System.exit(0);
  }

  private void run() throws Exception {
    List<Thread> producers = new ArrayList<>();
    List<Thread> consumers = new ArrayList<>();
    producers.add(start("idempotent", this::produce));
    producers.add(start("transactional", this::transact));
    producers.add(start("compacting", this::overwrite));
    for (String topic : List.of("live", "live-transactions")) {
      drains.put(topic, new Drain());
      consumers.add(start("consumer of " + topic, () -> consume(topic)));
    }
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ");
      switch (words[0]) {
        case "consumers" -> {
          consuming = false;
          for (Thread thread : consumers) {
            thread.join();
          }
        }
        case "producers" -> {
          producing = false;
          for (Thread thread : producers) {
            thread.join();
          }
        }
        case "drain" -> {
          for (Drain drain : drains.values()) {
            drain.done = false;
            drain.asked = true;
          }
          for (Drain drain : drains.values()) {
            while (!drain.done) {
              Thread.sleep(50);
            }
          }
        }
        case "trim" -> trim(words[1], Integer.parseInt(words[2]), Long.parseLong(words[3]));
        default -> throw new IllegalArgumentException(line);
      }
      System.out.println("done");
      System.out.flush();
    }
  }

  private interface Work {
    void go() throws Exception;
  }

  private Thread start(String name, Work work) {
    Thread thread =
        new Thread(
            () -> {
              try {
                work.go();
              } catch (Exception error) {
                System.out.println("failed " + name + ": " + error);
                System.out.flush();
                error.printStackTrace();
              }
            },
            name);
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  private Properties settings() {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("reconnect.backoff.max.ms", "500");
    return settings;
  }

  private KafkaProducer<String, String> producer(Map<String, String> more) {
    Properties settings = settings();
    settings.put("linger.ms", "5");
    settings.put("delivery.timeout.ms", "600000");
    settings.put("max.block.ms", "600000");
    settings.putAll(more);
    return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
  }

  private PrintWriter writer(String name) throws IOException {
    return new PrintWriter(
        Files.newBufferedWriter(
            directory.resolve(name), StandardOpenOption.CREATE, StandardOpenOption.APPEND));
  }

  /** Some hundred records a second, each once. */
  private void produce() throws Exception {
    try (PrintWriter acked = writer("acked-live");
        KafkaProducer<String, String> producer = producer(Map.of("compression.type", "zstd"))) {
      for (int n = 0; producing; n++) {
        String value = phase + " " + n;
        producer.send(
            new ProducerRecord<>("live", n % 3, "key " + n % 100, value),
            (metadata, error) -> {
              synchronized (acked) {
                if (error == null) {
                  acked.println(metadata.partition() + " " + metadata.offset() + " " + value);
                } else {
                  System.out.println("failed to write " + value + ": " + error);
                }
              }
            });
        Thread.sleep(2);
      }
      producer.flush();
    }
  }

  /** Transactions of some records, of which every third is aborted. */
  private void transact() throws Exception {
    try (PrintWriter acked = writer("acked-live-transactions")) {
      KafkaProducer<String, String> producer = null;
      for (int n = 0; producing; n++) {
        List<String> values = new ArrayList<>();
        try {
          if (producer == null) {
            producer = producer(Map.of("transactional.id", "live"));
            producer.initTransactions();
          }
          producer.beginTransaction();
          for (int m = 0; m < 6; m++) {
            String value = phase + " " + n + "." + m;
            values.add(value);
            producer.send(new ProducerRecord<>("live-transactions", m % 2, "key", value));
          }
          if (n % 3 == 2) {
            producer.flush();
            producer.abortTransaction();
            continue;
          }
          commit(producer);
          values.forEach(acked::println);
        } catch (TimeoutException | ProducerFencedException error) {
          throw error;
        } catch (KafkaException error) {
          // Its transaction came to nothing, or nobody knows: that is the source's business.
          System.err.println("the transactional producer begins anew: " + error);
          values.forEach(value -> acked.println("? " + value));
          producer.close(Duration.ZERO);
          producer = null;
        }
        Thread.sleep(20);
      }
      if (producer != null) {
        producer.close();
      }
    }
  }

  private void commit(KafkaProducer<String, String> producer) {
    while (true) {
      try {
        producer.commitTransaction();
        return;
      } catch (TimeoutException error) {
        System.err.println("a commit is tried again: " + error);
      }
    }
  }

  /** What the source compacts while it is copied. */
  private void overwrite() throws Exception {
    java.util.Random random = new java.util.Random(2);
    try (KafkaProducer<String, String> producer = producer(Map.of())) {
      for (int n = 0; producing; n++) {
        StringBuilder value = new StringBuilder(phase).append(' ').append(n).append(' ');
        for (int m = 0; m < 100; m++) {
          value.append(random.nextLong());
        }
        String text = n % 40 == 3 ? null : value.toString();
        producer.send(new ProducerRecord<>("compacted", 0, "key " + n % 150, text));
        Thread.sleep(5);
      }
      producer.flush();
    }
  }

  private void consume(String topic) throws Exception {
    Properties settings = settings();
    settings.put("group.id", "group of " + topic);
    settings.put("auto.offset.reset", "none");
    settings.put("enable.auto.commit", "false");
    settings.put("isolation.level", "read_committed");
    settings.put("session.timeout.ms", "45000");
    settings.put("max.poll.records", "50");
    Drain drain = drains.get(topic);
    try (PrintWriter read = writer("read-" + topic + "-" + phase);
        KafkaConsumer<String, String> consumer =
            new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
      int partitions = consumer.partitionsFor(topic).size();
      Map<TopicPartition, OffsetAndMetadata> zero = new HashMap<>();
      for (int partition = 0; partition < partitions; partition++) {
        zero.put(new TopicPartition(topic, partition), new OffsetAndMetadata(0));
      }
      if (phase.equals("source")) {
        // A consumer that reads on without an offset is a failure everywhere else.
        consumer.assign(zero.keySet());
        consumer.commitSync(zero);
        consumer.unsubscribe();
      }
      consumer.subscribe(List.of(topic));
      Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
      while (consuming || !next.isEmpty()) {
        // Read before the end is asked for: what comes later is not waited for.
        boolean asked = drain.asked;
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
        for (ConsumerRecord<String, String> record : records) {
          read.println(
              record.partition()
                  + " "
                  + record.offset()
                  + " "
                  + record.leaderEpoch().orElse(-1)
                  + " "
                  + record.value());
          next.put(
              new TopicPartition(topic, record.partition()),
              new OffsetAndMetadata(record.offset() + 1, record.leaderEpoch(), "live"));
        }
        read.flush();
        commit(consumer, next);
        if (asked && records.isEmpty() && isAtEnd(consumer, partitions)) {
          drain.asked = false;
          drain.done = true;
        }
      }
    }
  }

  private boolean isAtEnd(KafkaConsumer<String, String> consumer, int partitions) {
    Set<TopicPartition> assigned = consumer.assignment();
    Map<TopicPartition, Long> ends = consumer.endOffsets(assigned);
    return assigned.size() == partitions
        && assigned.stream().allMatch(place -> consumer.position(place) >= ends.get(place));
  }

  private void commit(
      KafkaConsumer<String, String> consumer, Map<TopicPartition, OffsetAndMetadata> next) {
    if (next.isEmpty()) {
      return;
    }
    try {
      consumer.commitSync(next, Duration.ofSeconds(5));
      next.clear();
    } catch (KafkaException error) {
      System.err.println("a commit failed: " + error);
    }
  }

  private void trim(String topic, int partition, long offset) throws Exception {
    Properties settings = settings();
    // A source that was just killed takes its time.
    settings.put("default.api.timeout.ms", "160000");
    try (Admin admin = Admin.create(settings)) {
      Map<TopicPartition, RecordsToDelete> what =
          Map.of(new TopicPartition(topic, partition), RecordsToDelete.beforeOffset(offset));
      admin.deleteRecords(what).all().get(170, TimeUnit.SECONDS);
    }
  }
}
