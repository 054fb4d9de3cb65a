"""Tokens for MLflow: reading what one says, minting one by the password grant, keeping one fresh in a Secret."""
