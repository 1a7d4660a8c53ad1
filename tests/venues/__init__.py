"""Four venues on loopback: what the tests of the data layer talk to instead of the internet."""
