package peers;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/**
 * NDJSON of R4 resources in; for each a JSON line out, in order: {@code {"index", "errors": [{"at", "id", "text"}],
 * "warnings"}}. What counts as an error is what the validator calls error or fatal; nothing is filtered here. Severity
 * is set in two places, and only there: a code system that is not part of the R4 specification (LOINC, SNOMED CT, local ones)
 * cannot be looked up without a terminology server, so its unknown codes are warnings; and advice on best practice is
 * a hint. Codes of the specification's own systems and value sets, HL7 v2 tables and v3 systems among them, are
 * checked.
 */
public final class Validate {
    /** Lines that may wait, so that a long input is not held in memory. */
    private static final int WAITING_MAX = 64;

    private Validate() {}

    public static void main(String[] arguments) throws Exception {
        FhirContext context = FhirContext.forR4Cached();
        UnknownCodeSystemWarningValidationSupport unknown = new UnknownCodeSystemWarningValidationSupport(context);
        unknown.setNonExistentCodeSystemSeverity(IValidationSupport.IssueSeverity.WARNING);
        ValidationSupportChain support = new ValidationSupportChain(
                new DefaultProfileValidationSupport(context),
                new CommonCodeSystemsTerminologyService(context),
                new InMemoryTerminologyServerValidationSupport(context),
                new SnapshotGeneratingValidationSupport(context),
                unknown);
        FhirInstanceValidator module = new FhirInstanceValidator(support);
        module.setErrorForUnknownProfiles(true);
        module.setAnyExtensionsAllowed(true);
        module.setBestPracticeWarningLevel(BestPracticeWarningLevel.Hint);
        FhirValidator validator = context.newValidator().registerValidatorModule(module);

        int threads = Math.max(1, Runtime.getRuntime().availableProcessors());
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        ArrayDeque<Future<String>> waiting = new ArrayDeque<>();
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            int index = 0;
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                if (line.isBlank()) {
                    continue;
                }
                int number = index++;
                String resource = line;
                waiting.add(pool.submit(() -> validated(validator, number, resource)));
                if (waiting.size() >= WAITING_MAX) {
                    out.println(waiting.remove().get());
                }
            }
            while (!waiting.isEmpty()) {
                out.println(waiting.remove().get());
            }
        } finally {
            pool.shutdown();
            out.flush();
        }
    }

    private static String validated(FhirValidator validator, int index, String resource) {
        List<Map<String, String>> errors = new ArrayList<>();
        int warnings = 0;
        try {
            for (SingleValidationMessage message : validator.validateWithResult(resource).getMessages()) {
                if (message.getSeverity() == ResultSeverityEnum.ERROR
                        || message.getSeverity() == ResultSeverityEnum.FATAL) {
                    errors.add(error(message.getLocationString(), message.getMessageId(), message.getMessage()));
                } else if (message.getSeverity() == ResultSeverityEnum.WARNING) {
                    warnings++;
                }
            }
        } catch (RuntimeException failure) {
            // What the validator cannot even read is not valid.
            errors.add(error("", "unreadable", String.valueOf(failure.getMessage())));
        }
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("index", index);
        line.put("errors", errors);
        line.put("warnings", warnings);
        return new Gson().toJson(line);
    }

    private static Map<String, String> error(String at, String id, String text) {
        Map<String, String> error = new LinkedHashMap<>();
        error.put("at", at == null ? "" : at);
        error.put("id", id == null ? "" : id);
        error.put("text", text == null ? "" : text);
        return error;
    }
}
