package peers;

import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.app.Connection;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.parser.GenericParser;
import ca.uhn.hl7v2.util.Terser;
import ca.uhn.hl7v2.validation.impl.ValidationContextFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** Send HOST PORT FILE: see ../../../../../README.md. */
public final class Send {
    private static final long ANSWER_S_MAX = 30;

    public static void main(String[] args) throws Exception {
        boolean failed = false;
        try (DefaultHapiContext context = new DefaultHapiContext()) {
            context.setValidationContext(ValidationContextFactory.noValidation());
            Connection connection = context.newClient(args[0], Integer.parseInt(args[1]), false);
            connection.getInitiator().setTimeout(ANSWER_S_MAX, TimeUnit.SECONDS);
            GenericParser parser = context.getGenericParser();
            for (String line : Files.readAllLines(Path.of(args[2]))) {
                if (line.isBlank()) {
                    continue;
                }
                Message message = parser.parse(Json.string(line));
                String controlId = new Terser(message).get("/.MSH-10");
                String code = null;
                String answers = null;
                try {
                    Terser answer = new Terser(connection.getInitiator().sendAndReceive(message));
                    code = answer.get("/.MSA-1");
                    answers = answer.get("/.MSA-2");
                } catch (Exception error) {
                    System.err.println(error);
                    failed = true;
                }
                System.out.println("{\"control_id\": " + Json.quoted(controlId) + ", \"code\": " + Json.quoted(code)
                        + ", \"answers\": " + Json.quoted(answers) + "}");
            }
            connection.close();
        }
        System.exit(failed ? 1 : 0);
    }
}
