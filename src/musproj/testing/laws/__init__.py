"""The suites' cases by subject; `metadata`, `jobs` and `queue` put them together."""
