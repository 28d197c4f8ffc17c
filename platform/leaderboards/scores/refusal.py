"""What is said of a query that cannot be understood."""


class QueryError(ValueError):
    """A part of a query that cannot be understood; `name` is that of its parameter."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message
