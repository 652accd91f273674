"""The public web site: customers subscribe, look at their subscription, change it, and leave."""
