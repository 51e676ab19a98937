//! MQTT: wearables and radio bridges.
