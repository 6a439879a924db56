"""How the schema refuses a value."""

from __future__ import annotations

from museum_plugin.errors import ConfigError


def require(condition: bool, message: str) -> None:
    """Refuse an impossible value.

    Raises:
        ConfigError: with the message.
    """
    if not condition:
        raise ConfigError(message)
