"""The yearly fee: announced, charged, paid or not; subscriptions that renew or lapse; and the books of it."""
