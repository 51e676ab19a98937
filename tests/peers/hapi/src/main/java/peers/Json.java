package peers;

/** Strings of JSON, as far as the lines between a test and its peers need them. */
final class Json {
    /** A line that is one JSON string. */
    static String string(String line) {
        String inner = line.strip();
        inner = inner.substring(1, inner.length() - 1);
        StringBuilder out = new StringBuilder();
        for (int at = 0; at < inner.length(); at++) {
            char c = inner.charAt(at);
            if (c != '\\') {
                out.append(c);
                continue;
            }
            char escaped = inner.charAt(++at);
            switch (escaped) {
                case 'n' -> out.append('\n');
                case 'r' -> out.append('\r');
                case 't' -> out.append('\t');
                case 'b' -> out.append('\b');
                case 'f' -> out.append('\f');
                case 'u' -> {
                    out.append((char) Integer.parseInt(inner.substring(at + 1, at + 5), 16));
                    at += 4;
                }
                default -> out.append(escaped);
            }
        }
        return out.toString();
    }

    /** A value, or null. */
    static String quoted(String value) {
        if (value == null) {
            return "null";
        }
        StringBuilder out = new StringBuilder("\"");
        for (char c : value.toCharArray()) {
            if (c == '"' || c == '\\' || c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    private Json() {}
}
