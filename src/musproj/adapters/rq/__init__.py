"""RQ 3 as the carrier of job ids: its entries, its keys, none of its workers."""
