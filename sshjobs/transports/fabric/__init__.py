"""The fallback: one connection by paramiko, through Fabric."""
