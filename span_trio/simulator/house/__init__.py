"""What a panel measures: a house and all that is in it, from a file or built in. Pure, and without a clock."""

__all__: list[str] = []
