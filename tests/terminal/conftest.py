"""What tests of pages have."""

from tests.static import static_root

__all__ = ["static_root"]
