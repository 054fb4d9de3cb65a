"""The webhook's settings: one YAML file and environment variables, as a typed record."""

from webhook.settings.loading import SettingsError, load_settings
from webhook.settings.table import ENV_HELP, SETTINGS, Setting, Settings

__all__ = ["ENV_HELP", "SETTINGS", "Setting", "Settings", "SettingsError", "load_settings"]
