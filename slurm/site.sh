# What differs from cluster to cluster. `transferability submit` and the sbatch files read it; before a bare
# `sbatch`, type `. slurm/site.sh`. What is set in the environment already wins over what is written here.

# Partition and account; without them the cluster's defaults.
#export SBATCH_PARTITION=${SBATCH_PARTITION:-gpu}
#export SBATCH_ACCOUNT=${SBATCH_ACCOUNT:-my-project}

# Longest time of one element. An element that needs more is requeued and goes on from its last checkpoint.
export SBATCH_TIMELIMIT=${SBATCH_TIMELIMIT:-24:00:00}

# How to ask for GPUs: sbatch's option, with {devices} for the number on a node. Empty on a cluster of CPUs.
export TRANSFERABILITY_GPUS=${TRANSFERABILITY_GPUS---gres=gpu:{devices\}}

# Processor cores for each device.
export TRANSFERABILITY_CPUS=${TRANSFERABILITY_CPUS:-4}

# Run on the node before anything else: modules, the Python environment.
prepare_node() {
    # module load cuda
    if [ -d .venv/bin ]; then PATH=$PWD/.venv/bin:$PATH; fi
}
