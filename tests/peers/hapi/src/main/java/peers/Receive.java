package peers;

import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.app.HL7Service;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.protocol.ReceivingApplication;
import ca.uhn.hl7v2.util.Terser;
import ca.uhn.hl7v2.validation.impl.ValidationContextFactory;
import java.util.Map;

/** Receive PORT: see ../../../../../README.md. */
public final class Receive {
    public static void main(String[] args) throws Exception {
        DefaultHapiContext context = new DefaultHapiContext();
        context.setValidationContext(ValidationContextFactory.noValidation());
        HL7Service server = context.newServer(Integer.parseInt(args[0]), false);
        server.registerApplication("*", "*", new ReceivingApplication<Message>() {
            @Override
            public Message processMessage(Message message, Map<String, Object> about)
                    throws ca.uhn.hl7v2.protocol.ReceivingApplicationException, ca.uhn.hl7v2.HL7Exception {
                String controlId = new Terser(message).get("/.MSH-10");
                int segments = message.encode().split("\r").length;
                System.out.println(
                        "{\"control_id\": " + Json.quoted(controlId) + ", \"segments\": " + segments + "}");
                try {
                    return message.generateACK();
                } catch (java.io.IOException error) {
                    throw new ca.uhn.hl7v2.HL7Exception(error);
                }
            }

            @Override
            public boolean canProcess(Message message) {
                return true;
            }
        });
        server.startAndWait();
        System.out.println("{\"listening\": true}");
        while (System.in.read() != -1) {
            // Ends with its standard input.
        }
        System.exit(0);
    }
}
