"""The yearly fee: announced, charged, told to the billing system, paid or not, renewed or lapsed; and its books."""
