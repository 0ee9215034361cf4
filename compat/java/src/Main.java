package trestle.compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Every scenario that this client has, in the order of scenarios.txt. */
public final class Main {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 3 && arguments[0].equals("member")) {
            Groups.child(arguments[1], arguments[2]);
            return;
        }
        List<Harness.Scenario> all = new ArrayList<>();
        // Compiled only where their jars are.
        Map<String, List<String>> frameworks = Map.of("kafka-streams", List.of("streams.WordCount", "streams.State"), "kafka-connect", List.of("connect.Distributed", "connect.Mirror"));
        List<String> framework = frameworks.get(System.getenv("COMPAT_CLIENT"));
        if (framework != null) {
            for (String name : framework) {
                Class<?> found = Class.forName("trestle.compat." + name);
                for (Object scenario : (List<?>) found.getMethod("scenarios").invoke(null)) {
                    all.add((Harness.Scenario) scenario);
                }
            }
        } else {
            all.addAll(Basic.scenarios());
            all.addAll(Groups.scenarios());
            all.addAll(Transactions.scenarios());
            all.addAll(Positions.scenarios());
            all.addAll(Administration.scenarios());
        }
        Harness.run(System.getenv("COMPAT_CLIENT"), System.getenv("COMPAT_VERSION"), all);
    }
}
