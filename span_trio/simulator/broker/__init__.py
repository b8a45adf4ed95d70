"""An MQTT 3.1.1 broker for trio, with a switch for every fault. It knows nothing of a house or of SPAN."""

__all__: list[str] = []
