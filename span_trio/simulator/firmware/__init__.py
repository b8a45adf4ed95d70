"""How a panel's firmware publishes a house, build by build, and what can be set in it. Pure."""

__all__: list[str] = []
