#!/usr/bin/env bash
# A throw-away SLURM cluster of real daemons on this machine, as the calling user: two nodes with two GPUs each, which
# are stand-ins: SLURM hands them out, and no program can use them.
#
#     eval "$(tests/slurm/cluster.sh start FOLDER)"        sets SLURM_CONF
#     tests/slurm/cluster.sh stop FOLDER                   cancels its jobs, ends its daemons, keeps the logs
#
# NODES=2 CPUS=4 PORT=25000 (and the next NODES ports; several clusters of one machine need ports a hundred apart, since
# job numbers begin with PORT, and Lightning makes a port of a job's last four digits). Needs: apt-get install -y --no-install-recommends slurm-wlm munge   (Debian 12: 22.05)
set -euo pipefail
what=$1
state=$(realpath -m "$2")
NODES=${NODES:-2} CPUS=${CPUS:-4} PORT=${PORT:-25000}
export SLURM_CONF=$state/slurm.conf

stop() {
    scancel --full -u "$(id -un)" 2>/dev/null || true
    for _ in $(seq 150); do [ -z "$(squeue -h -t running,completing 2>/dev/null)" ] && break; sleep 0.2; done
    for file in "$state"/run/slurmd-*.pid "$state"/run/slurmctld.pid "$state"/run/munged.pid; do
        [ -s "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
        rm -f "$file"
    done
}
if [ "$what" = stop ]; then stop; exit 0; fi

mkdir -p "$state"/{ctld,log,run}
cd "$state"
# munged refuses a key that others can read, and a socket folder that others cannot enter.
[ -s munge.key ] || (umask 077; head -c 1024 /dev/urandom >munge.key)
chmod 0755 run
munged --force --key-file="$state/munge.key" --socket="$state/run/munge.sock" --pid-file="$state/run/munged.pid" \
    --log-file="$state/log/munged.log" --seed-file="$state/run/munge.seed"
# The names of the nodes do not resolve, and Lightning would wait for the first of them for half an hour.
printf '#!/bin/sh\necho export MASTER_ADDR=127.0.0.1\necho "print GPUs $CUDA_VISIBLE_DEVICES"\n' >prolog.sh
chmod +x prolog.sh
printf 'Name=gpu File=%s\n' /dev/null /dev/zero >gres.conf # any device that every machine has
nodes=""
for i in $(seq "$NODES"); do
    mkdir -p "spool/n$i"
    nodes+="NodeName=n$i NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((PORT + i)) CPUs=$CPUS RealMemory=8000 Gres=gpu:2 State=UNKNOWN"$'\n'
done
cat >slurm.conf <<CONF
ClusterName=throwaway
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$state/run/munge.sock,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog=$state/prolog.sh
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=1
FirstJobId=$PORT
# A busy machine may take its time: for an answer, for a connection, for the start of a batch script.
MessageTimeout=100
TCPTimeout=60
BatchStartTimeout=300
JobRequeue=1
KillWait=3
MinJobAge=3600
MaxArraySize=${MAX_ARRAY_SIZE:-1001}
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool/%n
SlurmctldPidFile=$state/run/slurmctld.pid
SlurmdPidFile=$state/run/slurmd-%n.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
${nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=120
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
CONF
slurmctld -i >&2
for i in $(seq "$NODES"); do slurmd -N "n$i" >&2; done
for _ in $(seq 1200); do
    [ "$(sinfo -h -N -p main -t idle,mixed,alloc -o %N 2>/dev/null | sort -u | wc -l)" = "$NODES" ] && break
    sleep 0.1
done
if [ "$(sinfo -h -N -p main -t idle,mixed,alloc -o %N | sort -u | wc -l)" != "$NODES" ]; then
    echo "not every node came up: see $state/log" >&2
    stop
    exit 1
fi
echo "export SLURM_CONF=$SLURM_CONF"
