//! MLLP framing, HL7 v2 messages, paths and acknowledgements: bytes to values, sans I/O.
