import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * Rights BOOTSTRAP: "topic NAME", "group NAME TOPIC OFFSET", "user NAME PASSWORD" (SCRAM) and "allow USER OPERATION TYPE NAME",
 * line by line from standard input; each is answered with "done".
 */
class Rights {
  public static void main(String[] args) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String[] words = line.split(" ");
        var done =
            switch (words[0]) {
              case "topic" -> admin.createTopics(List.of(new NewTopic(words[1], 1, (short) 1))).all();
              case "group" ->
                  admin
                      .alterConsumerGroupOffsets(
                          words[1],
                          Map.of(
                              new TopicPartition(words[2], 0),
                              new OffsetAndMetadata(Long.parseLong(words[3]))))
                      .all();
              case "user" -> {
                // Not two of one user in one request.
                List<UserScramCredentialAlteration> first = List.of(scram(words, ScramMechanism.SCRAM_SHA_256));
                admin.alterUserScramCredentials(first).all().get(60, TimeUnit.SECONDS);
                List<UserScramCredentialAlteration> second = List.of(scram(words, ScramMechanism.SCRAM_SHA_512));
                yield admin.alterUserScramCredentials(second).all();
              }
              case "allow" -> admin.createAcls(List.of(allowed(words))).all();
              default -> throw new IllegalArgumentException(line);
            };
        done.get(60, TimeUnit.SECONDS);
        System.out.println("done");
        System.out.flush();
      }
    }
  }

  private static UserScramCredentialUpsertion scram(String[] words, ScramMechanism mechanism) {
    return new UserScramCredentialUpsertion(
        words[1], new ScramCredentialInfo(mechanism, 4096), words[2]);
  }

  private static AclBinding allowed(String[] words) {
    ResourceType type = ResourceType.fromString(words[3]);
    return new AclBinding(
        new ResourcePattern(type, words[4], PatternType.LITERAL),
        new AccessControlEntry(
            "User:" + words[1], "*", AclOperation.fromString(words[2].replace("DescribeC", "Describe_C")), AclPermissionType.ALLOW));
  }
}
