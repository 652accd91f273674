"""Account facts: what is known of an account that changes whether its customer may be warned."""
