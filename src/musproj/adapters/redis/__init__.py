"""Records on Redis ≥ 6.2 or a service that speaks its protocol: the seed's keys, and scripts for every change."""
