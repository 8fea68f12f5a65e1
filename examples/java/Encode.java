// Texts under instructions -> vectors, from a bundle, in Java (11 or newer):
//
//     mvn dependency:copy-dependencies -DoutputDirectory=jars
//     java -cp 'jars/*' Encode.java my-bundle int8 < rows.jsonl
//
// Each line of rows.jsonl is ["instruction", "text"]; each line that comes out is its vector.

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;

class Encode {
    // What Python's str.strip() takes away, and no more: strip() leaves a no-break space.
    static final String BLANK = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";

    static final ObjectMapper JSON = new ObjectMapper();

    final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    final OrtSession session;
    final HuggingFaceTokenizer tokenizer;
    final int longest;
    final long eos;

    Encode(Path bundle, String variant, boolean saturates) throws Exception {
        JsonNode manifest = JSON.readTree(bundle.resolve("manifest.json").toFile());
        longest = manifest.at("/model/max_seq_length").asInt();
        eos = manifest.at("/model/eos_token_id").asLong();
        Path tokens = bundle.resolve(manifest.at("/tokenizer/path").asText());
        // published files pad to 512
        tokenizer = HuggingFaceTokenizer.newInstance(tokens, Map.of("padding", "false", "truncation", "false"));
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        if (saturates) { // int8 on a processor whose 8-bit products do: docs/other-libraries.md says how to ask yours
            options.addConfigEntry("session.x64quantprecision", "1");
        }
        Path model = bundle.resolve(manifest.at("/variants/" + variant + "/files/0/path").asText());
        session = environment.createSession(model.toString(), options);
    }

    float[] encode(String instruction, String text) throws OrtException {
        long[] ids = tokens(strip(instruction + strip(text)));
        int counted = tokens(strip(instruction)).length - 1; // without its </s>
        int start = counted > 1 ? counted : 0; // a single token is pooled with the text
        long[] all = LongStream.range(0, ids.length).map(position -> 1).toArray();
        long[] pooled = LongStream.range(0, ids.length).map(position -> position >= start ? 1 : 0).toArray();
        // Several rows in one run: pad all three on the right with 0.
        try (OnnxTensor inputIds = OnnxTensor.createTensor(environment, new long[][] {ids});
                OnnxTensor attentionMask = OnnxTensor.createTensor(environment, new long[][] {all}); // the encoder's
                OnnxTensor poolingMask = OnnxTensor.createTensor(environment, new long[][] {pooled}); // the mean's
                OrtSession.Result result = session.run(Map.of(
                        "input_ids", inputIds, "attention_mask", attentionMask, "pooling_mask", poolingMask))) {
            return ((float[][]) result.get("sentence_embedding").get().getValue())[0];
        }
    }

    long[] tokens(String text) {
        long[] ids = tokenizer.encode(text).getIds();
        if (ids.length > longest) {
            ids = Arrays.copyOf(ids, longest);
            ids[longest - 1] = eos; // the last one kept is always </s>
        }
        return ids;
    }

    static String strip(String text) {
        return text.replaceAll("^" + BLANK + "|" + BLANK + "$", "");
    }

    public static void main(String[] arguments) throws Exception {
        boolean saturates = List.of(arguments).contains("--saturates");
        Encode model = new Encode(Path.of(arguments[0]), arguments[1], saturates);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line; (line = lines.readLine()) != null; ) {
            String[] row = JSON.readValue(line, String[].class);
            out.println(JSON.writeValueAsString(model.encode(row[0], row[1])));
        }
    }
}
