"""Plain torch definitions: what every exported graph and every engine is compared with."""
