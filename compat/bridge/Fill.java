import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Fill bulk BOOTSTRAP TOPIC PARTITIONS MIB: records of 1 KiB of noise. Fill empty BOOTSTRAP TOPICS PARTITIONS: so many topics idle-N of so
 * many partitions each, without records.
 */
class Fill {
  public static void main(String[] args) throws Exception {
    if (args[0].equals("bulk")) {
      bulk(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]));
    } else {
      empty(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3]));
    }
  }

  private static void bulk(String bootstrap, String topic, int partitions, int mib)
      throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      NewTopic made = new NewTopic(topic, partitions, (short) 1);
      admin.createTopics(List.of(made)).all().get(60, TimeUnit.SECONDS);
    }
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("batch.size", "262144");
    settings.put("linger.ms", "50");
    settings.put("buffer.memory", "67108864");
    settings.put("max.request.size", "4194304");
    Random random = new Random(1);
    byte[][] values = new byte[512][1024];
    for (byte[] value : values) {
      random.nextBytes(value);
    }
    AtomicReference<Exception> failed = new AtomicReference<>();
    try (KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (int n = 0; n < mib * 1024; n++) {
        producer.send(
            new ProducerRecord<>(topic, n % partitions, null, values[n % values.length]),
            (metadata, error) -> {
              if (error != null) {
                failed.set(error);
              }
            });
      }
    }
    if (failed.get() != null) {
      throw failed.get();
    }
  }

  private static void empty(String bootstrap, int topics, int partitions) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      for (int from = 0; from < topics; from += 10) {
        List<NewTopic> some = new ArrayList<>();
        for (int n = from; n < Math.min(from + 10, topics); n++) {
          some.add(new NewTopic("idle-" + n, partitions, (short) 1));
        }
        admin.createTopics(some).all().get(300, TimeUnit.SECONDS);
      }
    }
  }
}
