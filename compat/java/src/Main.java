package trestle.compat;

import java.util.ArrayList;
import java.util.List;

/** Every scenario that this client has, in the order of scenarios.txt. */
public final class Main {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 3 && arguments[0].equals("member")) {
            Groups.child(arguments[1], arguments[2]);
            return;
        }
        List<Harness.Scenario> all = new ArrayList<>();
        if (System.getenv("COMPAT_CLIENT").equals("kafka-streams")) {
            // Compiled only where its jars are.
            Class<?> wordCount = Class.forName("trestle.compat.streams.WordCount");
            all.add(new Harness.Scenario("streams.word-count", (Harness.Body) wordCount.getMethod("scenario").invoke(null)));
        } else {
            all.addAll(Basic.scenarios());
            all.addAll(Groups.scenarios());
            all.addAll(Transactions.scenarios());
        }
        Harness.run(System.getenv("COMPAT_CLIENT"), System.getenv("COMPAT_VERSION"), all);
    }
}
