"""The REST API of a simulated panel. `api`, `answers` and `clients` need the extra ``simulator``; the others do not."""

__all__: list[str] = []
