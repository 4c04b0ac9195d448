# Settings of your cluster. `transferability submit` and the sbatch files read this file; before calling `sbatch`
# yourself, type `. slurm/site.sh`. A variable that is already set in the environment takes precedence.

# Partition and account; if not set, the cluster's defaults.
#export SBATCH_PARTITION=${SBATCH_PARTITION:-gpu}
#export SBATCH_ACCOUNT=${SBATCH_ACCOUNT:-my-project}

# Time limit of one array task. A task that needs longer is requeued and resumes from its last checkpoint.
export SBATCH_TIMELIMIT=${SBATCH_TIMELIMIT:-24:00:00}

# The sbatch option that asks for GPUs; {devices} stands for the number per node. Empty on a cluster without GPUs.
export TRANSFERABILITY_GPUS=${TRANSFERABILITY_GPUS---gres=gpu:{devices\}}

# CPU cores per device.
export TRANSFERABILITY_CPUS=${TRANSFERABILITY_CPUS:-4}

# Runs first on each node: load modules, activate the Python environment.
prepare_node() {
    # module load cuda
    if [ -d .venv/bin ]; then PATH=$PWD/.venv/bin:$PATH; fi
}
