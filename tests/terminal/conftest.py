"""What tests of commands and of pages have."""

from tests.experiments.conftest import prepared_data, site
from tests.static import static_root

__all__ = ["prepared_data", "site", "static_root"]
