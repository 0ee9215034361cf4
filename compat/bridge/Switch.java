import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Switch produce BOOTSTRAP TOPIC, lines from standard input; or consume BOOTSTRAP TOPIC GROUP COUNT. */
class Switch {
  public static void main(String[] args) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", args[1]);
    for (String role : List.of("key", "value")) {
      settings.put(role + ".serializer", "org.apache.kafka.common.serialization.StringSerializer");
      settings.put(role + ".deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
    }
    if (args[0].equals("produce")) {
      try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings);
          BufferedReader lines = new BufferedReader(new InputStreamReader(System.in))) {
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
          producer.send(new ProducerRecord<>(args[2], line));
        }
      }
      return;
    }
    settings.put("group.id", args[3]);
    settings.put("auto.offset.reset", "earliest");
    settings.put("enable.auto.commit", "false");
    int left = Integer.parseInt(args[4]);
    long until = System.currentTimeMillis() + 60_000;
    try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
      consumer.subscribe(List.of(args[2]));
      while (left > 0 && System.currentTimeMillis() < until) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
          if (left-- <= 0) {
            break;
          }
          System.out.println(record.value());
          if (left == 0) {
            TopicPartition partition = new TopicPartition(record.topic(), record.partition());
            OffsetAndMetadata next =
                new OffsetAndMetadata(record.offset() + 1, record.leaderEpoch(), "switch");
            consumer.commitSync(java.util.Map.of(partition, next));
          }
        }
      }
    }
    if (left > 0) {
      System.err.println(left + " records did not come");
      System.exit(1);
    }
  }
}
