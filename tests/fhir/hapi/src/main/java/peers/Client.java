package peers;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.api.ServerValidationModeEnum;
import ca.uhn.fhir.rest.server.exceptions.BaseServerResponseException;
import com.google.gson.Gson;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import javax.net.ssl.SSLContext;
import org.apache.http.impl.client.HttpClients;
import org.apache.http.ssl.SSLContexts;
import org.hl7.fhir.instance.model.api.IBaseOperationOutcome;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CapabilityStatement;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.OperationOutcome;
import org.hl7.fhir.r4.model.Patient;

/**
 * What HAPI's generic client makes of an endpoint that takes in: {@code Client URL CA CERTIFICATE KEY}, all PEM. A JSON
 * line for each request: {@code {"did", "id", "created"}} or {@code {"did", "status", "issue", "text"}}.
 */
public final class Client {
    private static final FhirContext R4 = FhirContext.forR4();

    private Client() {}

    public static void main(String[] arguments) throws Exception {
        R4.getRestfulClientFactory().setHttpClient(
            HttpClients.custom()
                .setSSLContext(mutual(arguments[1], arguments[2], arguments[3]))
                .disableAutomaticRetries()
                .build());
        // The client reads the CapabilityStatement before anything else, and does not go on with another FHIR version.
        R4.getRestfulClientFactory().setServerValidationMode(ServerValidationModeEnum.ONCE);
        IGenericClient client = R4.newRestfulGenericClient(arguments[0] + "/fhir");

        Patient patient = new Patient();
        patient.setActive(true).addIdentifier().setSystem("urn:oid:1.2.3").setValue("hapi-1");
        say("create", () -> outcome(client.create().resource(patient).execute()));
        Patient known = patient.copy();
        known.setId("Patient/hapi-1");
        say("update", () -> outcome(client.update().resource(known).execute()));
        say("transaction", () -> {
            Bundle bundle = new Bundle().setType(Bundle.BundleType.TRANSACTION);
            bundle.addEntry().setFullUrl("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0").setResource(patient)
                .getRequest().setMethod(Bundle.HTTPVerb.POST).setUrl("Patient");
            bundle.addEntry().setResource(known).getRequest().setMethod(Bundle.HTTPVerb.PUT).setUrl("Patient/hapi-1");
            Bundle answer = client.transaction().withBundle(bundle).execute();
            StringBuilder places = new StringBuilder();
            answer.getEntry().forEach(entry -> places.append(entry.getResponse().getLocation()).append(' '));
            return line("id", places.toString().trim(), "created", answer.getEntry().size());
        });
        say("validate", () -> {
            Patient nameless = patient.copy();
            nameless.setId((String) null);
            MethodOutcome judged = client.validate().resource(nameless).execute();
            return line("id", issue(judged.getOperationOutcome()), "created", false);
        });
        // With an id it asks at the instance.
        say("validate-instance", () -> {
            MethodOutcome judged = client.validate().resource(known).execute();
            return line("id", issue(judged.getOperationOutcome()), "created", false);
        });
        say("invalid", () -> outcome(client.create().resource(new Observation()).execute()));
        say("if-none-exist", () -> outcome(
            client.create().resource(patient).conditionalByUrl("Patient?identifier=urn:oid:1.2.3|hapi-1").execute()));
        say("read", () -> outcome(client, "hapi-1"));
        say("capabilities", () -> {
            CapabilityStatement told = client.capabilities().ofType(CapabilityStatement.class).execute();
            return line("id", told.getFhirVersion().toCode(), "created", false);
        });
    }

    private static Map<String, Object> outcome(IGenericClient client, String id) {
        return line("id", client.read().resource(Patient.class).withId(id).execute().getId(), "created", false);
    }

    private static Map<String, Object> outcome(MethodOutcome outcome) {
        return line("id", outcome.getId().getIdPart(), "created", Boolean.TRUE.equals(outcome.getCreated()));
    }

    private static Map<String, Object> line(String first, Object one, String second, Object two) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put(first, one);
        line.put(second, two);
        return line;
    }

    private static String issue(IBaseOperationOutcome outcome) {
        return ((OperationOutcome) outcome).getIssueFirstRep().getCode().toCode();
    }

    private static void say(String what, Supplier<Map<String, Object>> request) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("did", what);
        try {
            line.putAll(request.get());
        } catch (BaseServerResponseException refused) {
            line.put("status", refused.getStatusCode());
            if (refused.getOperationOutcome() != null) {
                line.put("issue", issue(refused.getOperationOutcome()));
            }
            line.put("text", refused.getMessage());
        }
        System.out.println(new Gson().toJson(line));
    }

    private static SSLContext mutual(String ca, String certificate, String key) throws Exception {
        CertificateFactory x509 = CertificateFactory.getInstance("X.509");
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        try (InputStream pem = Files.newInputStream(Path.of(ca))) {
            trusted.setCertificateEntry("ca", x509.generateCertificate(pem));
        }
        Collection<? extends Certificate> chain;
        try (InputStream pem = Files.newInputStream(Path.of(certificate))) {
            chain = x509.generateCertificates(pem);
        }
        String text = Files.readString(Path.of(key), StandardCharsets.US_ASCII).replaceAll("-----[A-Z ]+-----|\\s", "");
        PKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text));
        PrivateKey ours = KeyFactory.getInstance("EC").generatePrivate(spec);
        KeyStore shown = KeyStore.getInstance("PKCS12");
        shown.load(null, null);
        shown.setKeyEntry("us", ours, new char[0], chain.toArray(new Certificate[0]));
        return SSLContexts.custom().loadTrustMaterial(trusted, null).loadKeyMaterial(shown, new char[0]).build();
    }
}
