"""Makes `python -m webhook.cli` be the command."""

from webhook.cli import main

main()
