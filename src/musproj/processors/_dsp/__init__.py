"""Signal processing: arrays in, arrays out; nothing here opens a file or knows a job."""
