import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Prepare BOOTSTRAP: the topics and groups that a migration finds at its source. */
class Prepare {
  static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
  static final int GROUPS = 50;

  private final String bootstrap;
  private final Admin admin;

  Prepare(String bootstrap) {
    this.bootstrap = bootstrap;
    this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
  }

  public static void main(String[] args) throws Exception {
    new Prepare(args[0]).everything();
    // Threads of clients may linger.
    System.exit(0);
  }

  private void everything() throws Exception {
    List<NewTopic> topics = new ArrayList<>();
    for (String codec : CODECS) {
      topics.add(new NewTopic("codec-" + codec, 2, (short) 1));
    }
    topics.add(new NewTopic("transactions", 2, (short) 1));
    Map<String, String> compacts = new HashMap<>();
    compacts.put("cleanup.policy", "compact");
    compacts.put("segment.bytes", "1048576");
    compacts.put("min.cleanable.dirty.ratio", "0.01");
    compacts.put("delete.retention.ms", "100");
    topics.add(new NewTopic("compacted", 1, (short) 1).configs(compacts));
    topics.add(new NewTopic("deleted", 1, (short) 1).configs(Map.of("retention.ms", "86400000")));
    topics.add(new NewTopic("emptied", 2, (short) 1));
    topics.add(new NewTopic("untouched", 3, (short) 1));
    topics.add(new NewTopic("orders", 1, (short) 1));
    topics.add(new NewTopic("live", 3, (short) 1));
    topics.add(new NewTopic("live-transactions", 2, (short) 1));
    admin.createTopics(topics).all().get(60, TimeUnit.SECONDS);
    for (String codec : CODECS) {
      codec(codec);
    }
    transactions();
    compacted();
    delete("deleted", 0, 500, 123);
    delete("emptied", 0, 300, 300);
    delete("emptied", 1, 7, 7);
    groups();
  }

  private KafkaProducer<String, String> producer(Map<String, String> more) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("linger.ms", "5");
    settings.putAll(more);
    return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
  }

  private void codec(String codec) {
    try (KafkaProducer<String, String> producer = producer(Map.of("compression.type", codec))) {
      for (int n = 0; n < 2000; n++) {
        ProducerRecord<String, String> record =
            new ProducerRecord<>("codec-" + codec, n % 2, "key " + n, "value ".repeat(n % 40) + n);
        record.headers().add("codec", codec.getBytes(StandardCharsets.UTF_8));
        if (n % 10 == 0) {
          record.headers().add("none", null);
        }
        producer.send(record);
      }
    }
  }

  /** Committed and aborted ones, over both partitions, between records of no transaction. */
  private void transactions() {
    try (KafkaProducer<String, String> plain = producer(Map.of());
        KafkaProducer<String, String> producer =
            producer(Map.of("transactional.id", "prepare"))) {
      producer.initTransactions();
      for (int n = 0; n < 60; n++) {
        producer.beginTransaction();
        for (int partition = 0; partition < 2; partition++) {
          for (int m = 0; m < 5; m++) {
            producer.send(new ProducerRecord<>("transactions", partition, "k", n + " " + m));
          }
        }
        producer.flush();
        plain.send(new ProducerRecord<>("transactions", n % 2, "k", "plain " + n));
        plain.flush();
        if (n % 3 == 1) {
          producer.abortTransaction();
        } else {
          producer.commitTransaction();
        }
      }
    }
  }

  /** Some segments of records that overwrite each other, tombstones among them; returns when the source has compacted. */
  private void compacted() throws Exception {
    int written = 6000;
    try (KafkaProducer<String, String> producer = producer(Map.of("compression.type", "lz4"))) {
      java.util.Random random = new java.util.Random(1);
      for (int n = 0; n < written; n++) {
        byte[] noise = new byte[800];
        random.nextBytes(noise);
        String value = n % 50 == 7 ? null : n + new String(noise, StandardCharsets.ISO_8859_1);
        producer.send(new ProducerRecord<>("compacted", 0, "key " + n * 31 % 400, value));
      }
    }
    long until = System.currentTimeMillis() + 90_000;
    while (count("compacted", 0) > written * 9 / 10) {
      if (System.currentTimeMillis() > until) {
        throw new IllegalStateException("the source did not compact");
      }
      Thread.sleep(500);
    }
  }

  private int count(String topic, int partition) {
    Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap);
    TopicPartition place = new TopicPartition(topic, partition);
    int count = 0;
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(
            settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.assign(Set.of(place));
      consumer.seekToBeginning(Set.of(place));
      long end = consumer.endOffsets(Set.of(place)).get(place);
      while (consumer.position(place) < end) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
        count += records.count();
      }
    }
    return count;
  }

  private void delete(String topic, int partition, int records, long before) throws Exception {
    try (KafkaProducer<String, String> producer = producer(Map.of("batch.size", "2000"))) {
      for (int n = 0; n < records; n++) {
        producer.send(new ProducerRecord<>(topic, partition, "k", "value " + n));
      }
    }
    TopicPartition place = new TopicPartition(topic, partition);
    admin
        .deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(before)))
        .all()
        .get(60, TimeUnit.SECONDS);
  }

  private void groups() throws Exception {
    for (int n = 0; n < GROUPS; n++) {
      Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
      for (String codec : CODECS) {
        Optional<Integer> epoch = n % 3 == 0 ? Optional.empty() : Optional.of(0);
        String note = n % 2 == 0 ? "" : "note " + n;
        offsets.put(
            new TopicPartition("codec-" + codec, n % 2), new OffsetAndMetadata(n * 20, epoch, note));
      }
      offsets.put(new TopicPartition("deleted", 0), new OffsetAndMetadata(123 + n));
      admin
          .alterConsumerGroupOffsets("group-" + n, offsets)
          .all()
          .get(60, TimeUnit.SECONDS);
    }
    // One that stands at the start of a partition without records.
    admin
        .alterConsumerGroupOffsets(
            "group-of-nothing",
            Collections.singletonMap(new TopicPartition("emptied", 0), new OffsetAndMetadata(300)))
        .all()
        .get(60, TimeUnit.SECONDS);
  }
}
