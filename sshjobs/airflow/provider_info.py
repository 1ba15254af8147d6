"""What Airflow's list of providers says of this package."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return what the entry point ``apache_airflow_provider`` is asked for."""
    name = "sshjobs"
    operators = ["sshjobs.airflow.operators", "sshjobs.airflow.ssh_provider"]

    def list_modules(*modules: str) -> list[dict[str, Any]]:
        return [{"integration-name": name, "python-modules": list(modules)}]

    return {
        "package-name": name,
        "name": name,
        "description": "Long jobs on hosts of ssh, over one connection",
        "integrations": [
            {
                "integration-name": name,
                "external-doc-url": "https://pypi.org/project/sshjobs/",
                "tags": ["protocol"],
            }
        ],
        "operators": list_modules(*operators),
        "hooks": list_modules("sshjobs.airflow.hook"),
        "sensors": list_modules("sshjobs.airflow.sensor"),
        "triggers": list_modules("sshjobs.airflow.triggers"),
        "extra-links": ["sshjobs.airflow.links.SSHJobLink"],
    }
