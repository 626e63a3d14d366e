"""Quality figures of a result beside the clean video it should equal."""
