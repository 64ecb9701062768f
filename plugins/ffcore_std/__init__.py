"""The parts that every algorithm shares: bodies, schedules, contributions, readouts, data sets."""
