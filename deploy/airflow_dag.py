"""Every night, by Airflow: `terraseam_dataflow` launches the Flex Template, `terraseam_here` runs on Airflow's worker.

Copy this file and `launch.json` into the folder of DAGs, and delete the DAG that is not wanted. The project and the
region of Google Cloud are the Airflow variables `terraseam_project` and `terraseam_region`.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

NIGHTLY = {
    "schedule": "15 2 * * *",
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,  # a run does all that has changed since the last one
    "max_active_runs": 1,
    "default_args": {
        "retries": 2,
        "retry_delay": timedelta(minutes=10),
    },  # a retry goes on where a run stopped
}

with DAG("terraseam_dataflow", **NIGHTLY):
    DataflowStartFlexTemplateOperator(
        task_id="segment",
        body=json.loads(Path(__file__).with_name("launch.json").read_text("utf-8")),
        project_id="{{ var.value.terraseam_project }}",
        location="{{ var.value.terraseam_region }}",
        deferrable=True,
    )

with DAG("terraseam_here", **NIGHTLY):
    # Status 3: everything is done but what is in quarantine, which the next run tries again.
    BashOperator(
        task_id="segment",
        bash_command="/opt/terraseam/bin/terraseam segment --config /etc/terraseam/job.toml || [ $? -eq 3 ]",
    )
