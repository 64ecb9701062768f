"""Parts for all algorithms: bodies, schedules, contributions, readouts, data sets."""
