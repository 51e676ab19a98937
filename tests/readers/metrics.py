"""Parses OpenMetrics text from standard input with the reference library, and prints each sample as a JSON line:
`{name, labels, value, type}`. Exits 1, with the reason, where it is not OpenMetrics."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def main() -> int:
    try:
        families = list(text_string_to_metric_families(sys.stdin.read()))
    except ValueError as error:
        print(f"not OpenMetrics: {error}", file=sys.stderr)
        return 1
    for family in families:
        for sample in family.samples:
            print(json.dumps({
                "name": sample.name,
                "labels": sample.labels,
                "value": sample.value,
                "type": family.type,
            }))
    return 0


if __name__ == "__main__":
    sys.exit(main())
