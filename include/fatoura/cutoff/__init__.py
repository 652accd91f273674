"""Cut-off cases: who may be warned, and from which day on."""
