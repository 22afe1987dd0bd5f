#!/usr/bin/env bash
#SBATCH --job-name=beyondloss
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#
# One chapter at full scale on the nodes of a Slurm job:
#
#     sbatch book/jobs/slurm.sh 3                       the whole chapter
#     sbatch --nodes=1 book/jobs/slurm.sh 3 --only window --seeds 0:4
#
# Submit it from the checkout, which with its .venv lies where every node sees it and has '.[cluster]' installed.
# Finished points are stored one by one: a job that ran out of time goes on where it stopped, submit it again.
set -euo pipefail

source .venv/bin/activate
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 # seconds for all nodes to appear
# A token of this job's own: others on the network could else run code on its nodes.
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))

# Starts Ray on every node, runs the command on the head, and stops Ray again (all of it on these nodes: --exclusive).
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
  ray symmetric-run \
  --address "$head:$port" \
  --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" \
  --num-gpus "$SLURM_GPUS_ON_NODE" \
  -- beyondloss run "$@" --scale full --engine ray
