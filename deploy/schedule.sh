#!/usr/bin/env bash
# Start the Flex Template at fixed times by Cloud Scheduler.
#
#   deploy/schedule.sh NAME SCHEDULE LAUNCH ACCOUNT
#
# NAME      of the scheduled job
# SCHEDULE  as for cron, in UTC or in the zone of TIME_ZONE: '15 2 * * *'
# LAUNCH    what is sent to Dataflow, such as deploy/launch.json
# ACCOUNT   e-mail address of the service account that starts the job; it needs the roles dataflow.developer,
#           and iam.serviceAccountUser on the account of the workers
#
# PROJECT and REGION in the environment say where. A scheduled job of that name is replaced.
set -euo pipefail
if [ $# -ne 4 ]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
name=$1 schedule=$2 launch=$3 account=$4
: "${PROJECT:?say the project of Google Cloud in PROJECT}"
: "${REGION:?say the region in REGION, such as europe-west1}"
if [ ! -f "$launch" ]; then
    echo "schedule.sh: $launch does not exist" >&2
    exit 2
fi

verb=create
if gcloud scheduler jobs describe "$name" --project "$PROJECT" --location "$REGION" > /dev/null 2>&1; then
    verb=update
fi
gcloud scheduler jobs "$verb" http "$name" --project "$PROJECT" --location "$REGION" \
    --schedule "$schedule" --time-zone "${TIME_ZONE:-Etc/UTC}" \
    --uri "https://dataflow.googleapis.com/v1b3/projects/$PROJECT/locations/$REGION/flexTemplates:launch" \
    --http-method POST --message-body-from-file "$launch" \
    --oauth-service-account-email "$account" --oauth-token-scope https://www.googleapis.com/auth/cloud-platform \
    --max-retry-attempts 3 --attempt-deadline 180s
