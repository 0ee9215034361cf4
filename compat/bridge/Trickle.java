import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Trickle SOURCE COPY TOPICS PARTITIONS SECONDS: writes 1,000 records a second over all partitions of idle-N at the source, reads them
 * from the copy, and prints after how many milliseconds they came: count, median, 99th percentile, most.
 */
class Trickle {
  public static void main(String[] args) throws Exception {
    int topics = Integer.parseInt(args[2]);
    int partitions = Integer.parseInt(args[3]);
    int count = Integer.parseInt(args[4]) * 1000;
    Thread writer =
        new Thread(
            () -> {
              try {
                write(args[0], topics, partitions, count);
              } catch (InterruptedException error) {
                throw new IllegalStateException(error);
              }
            });
    writer.setDaemon(true);
    Map<String, Object> settings =
        Map.of("bootstrap.servers", args[1], "fetch.max.wait.ms", "100", "max.poll.records", "5000");
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(
            settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> places = new ArrayList<>();
      for (int n = 0; n < topics * partitions; n++) {
        places.add(new TopicPartition("idle-" + n / partitions, n % partitions));
      }
      consumer.assign(places);
      consumer.seekToEnd(places);
      places.forEach(consumer::position);
      writer.start();
      long[] took = new long[count];
      int read = 0;
      long until = System.currentTimeMillis() + count + 60_000L;
      while (read < count && System.currentTimeMillis() < until) {
        var records = consumer.poll(Duration.ofMillis(100));
        long now = System.currentTimeMillis();
        for (ConsumerRecord<byte[], byte[]> record : records) {
          took[read++] = now - ByteBuffer.wrap(record.value()).getLong();
        }
      }
      if (read < count) {
        throw new IllegalStateException(read + " of " + count + " records came");
      }
      Arrays.sort(took);
      System.out.printf(
          "%d %d %d %d%n", count, took[count / 2], took[count * 99 / 100], took[count - 1]);
    }
  }

  private static void write(String bootstrap, int topics, int partitions, int count)
      throws InterruptedException {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    Random random = new Random(1);
    long began = System.currentTimeMillis();
    try (KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (int n = 0; n < count; n++) {
        long ahead = began + n - System.currentTimeMillis();
        if (ahead > 0) {
          Thread.sleep(ahead);
        }
        byte[] value = ByteBuffer.allocate(100).putLong(System.currentTimeMillis()).array();
        int place = random.nextInt(topics * partitions);
        producer.send(
            new ProducerRecord<>("idle-" + place / partitions, place % partitions, null, value));
      }
    }
  }
}
