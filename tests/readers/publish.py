"""Publishes to an MQTT broker with PyPI `paho-mqtt`, at QoS 1, and waits for every acknowledgement.

    publish.py HOST PORT < PUBLISHES

A line of PUBLISHES is `TOPIC HEX`. Prints how many the broker acknowledged.
"""

import sys

import paho.mqtt.client as mqtt


def main() -> int:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="a-device", protocol=mqtt.MQTTv311)
    client.connect(sys.argv[1], int(sys.argv[2]))
    client.loop_start()
    count = 0
    for line in sys.stdin:
        topic, payload = line.split()
        client.publish(topic, bytes.fromhex(payload), qos=1).wait_for_publish(30)
        count += 1
    client.disconnect()
    client.loop_stop()
    print(count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
