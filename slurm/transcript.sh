#!/usr/bin/env bash
# Submits the smoke study to a temporary SLURM cluster of two nodes on this machine and prints the commands with their
# output: the transcript in docs/cluster.md. Takes about a minute; leaves nothing behind.
#
#     slurm/transcript.sh >transcript.txt
#
# Needs slurm-wlm and munge, the packed demo images under data/demo, and .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
cluster=$(mktemp -d)
trap 'tests/slurm/cluster.sh stop "$cluster" >/dev/null 2>&1; rm -rf "$cluster"' EXIT
eval "$(PORT=${PORT:-18817} tests/slurm/cluster.sh start "$cluster" 2>/dev/null)"

# Instead of slurm/site.sh: nodes without GPUs.
export TRANSFERABILITY_GPUS="" TRANSFERABILITY_CPUS=1 SBATCH_TIMELIMIT=30
export TRANSFERABILITY_DATA=${TRANSFERABILITY_DATA:-$PWD/data} TRANSFERABILITY_RUNS=$cluster/runs
export PATH=$PWD/.venv/bin:$PATH COLUMNS=110
say() {
    echo "\$ $*"
    bash -c "${*// runs/ $cluster/runs}" 2>&1 | sed -e "s#$cluster/##g" -e "s#$PWD/##g" -e 's/ *$//'
    echo
}
wait_for() { # until the output of `status` matches the pattern
    for _ in $(seq "${PATIENCE:-1200}"); do
        grep -q "$1" <<<"$(transferability status experiments/smoke.py 2>/dev/null)" && return
        sleep 0.1
    done
    echo "it took too long until status said: $1" >&2
    exit 1
}

say sinfo
say 'transferability submit experiments/smoke.py --devices 2 --max-parallel 2 --dry-run'
say 'transferability submit experiments/smoke.py --devices 2 --max-parallel 2'
wait_for '^running: '
say 'transferability status experiments/smoke.py'
second=$(grep -o '"job": *"[0-9]*"' "$cluster"/runs/smoke/submissions/1.jobs.json | sed -n 2p | tr -dc 0-9)
job=${second}_0 # the first of the tasks that copy from bases
until grep -qs ' steps$' "$cluster"/runs/smoke/logs/*-"$job".log; do # it begins to train
    [ -n "$(squeue -h -j "$second" 2>/dev/null)" ] || { echo "job $second is gone and has not trained" >&2; exit 1; }
    sleep 0.02
done
echo '# As before a time limit: the array task writes a checkpoint, is requeued and resumes from it.'
say "scancel --batch --signal=USR1 $job"
until [ "$(squeue -h -j "$job" -O RestartCnt | tr -d ' ')" = 1 ]; do
    [ -n "$(squeue -h -j "$job")" ] || { echo "$job had ended before its signal came: try again" >&2; exit 1; }
    sleep 0.2
done
say 'transferability status experiments/smoke.py'
wait_for ': \([0-9]*\) of \1 networks done'
while [ -n "$(squeue -h)" ]; do sleep 0.5; done
say 'transferability status experiments/smoke.py'
say 'ls runs/smoke/*.csv runs/smoke/report.html runs/smoke/figures/figure2.*'
say 'transferability submit experiments/smoke.py --devices 2'
