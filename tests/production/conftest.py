"""Production that several tests share."""

from tests.servers import postgres, production, settings_of_production

__all__ = ["postgres", "production", "settings_of_production"]
