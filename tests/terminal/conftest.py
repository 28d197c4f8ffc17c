"""What tests of commands and of pages have."""

from tests.static import static_root

__all__ = ["static_root"]
