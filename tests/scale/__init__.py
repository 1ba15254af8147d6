"""What sshjobs costs with very many hosts, jobs and client machines."""
