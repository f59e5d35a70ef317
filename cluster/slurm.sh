#!/usr/bin/env bash
# A search on Slurm, from the folder of the configuration:   sbatch cluster/slurm.sh CONFIG.yaml
# Ray runs on every node of the allocation, the search on the first; what follows CONFIG.yaml goes to
# it. Preempted, out of time or with a dead node, the job is queued again and goes on by itself.
# storage and data.root must be paths that all nodes see, or s3://…; model.weights one of the first.
#SBATCH --job-name=revo-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=revo-ray-%j.log
set -euo pipefail

# shellcheck source=/dev/null
. "${VENV:-.venv}/bin/activate"

# Without a token, whoever reaches the nodes runs code as this user.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(umask 077 && ray get-auth-token --generate)
export RAY_AUTH_TOKEN

# Ray tells its makers nothing about its use.
export RAY_USAGE_STATS_ENABLED=0

# Python on a cold network disk takes its time: nodes wait minutes for each other, not half a one.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 RAY_py_gcs_connect_timeout_s=300

# Two minutes before the time is over. Slurm then stops the search, which loses no finished evaluation.
queued=
trap 'queued=yes; echo "time is over: queued again"; scontrol requeue "$SLURM_JOB_ID"' USR1

# The first node's address as the last node finds it: to itself, its name may mean 127.0.1.1.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
name=$(scontrol show node "${nodes[0]}" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
find='import socket, sys; print(socket.gethostbyname(sys.argv[1]))'
if ! head=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[-1]}" python -c "$find" "$name"); then
    echo "${nodes[-1]} finds no IPv4 address of ${nodes[0]} ($name)" >&2
    exit 3
fi
if [[ $head == 127.* ]]; then # the only node; Ray knows its own address by this one alone
    head=127.0.0.1
fi

started=$(mktemp)
trap 'rm -f "$started"' EXIT

# Each node brings as many CPUs as the job has there. The first runs what stands after `--`; Ray alone
# ends with 0 also where it could not start.
# shellcheck disable=SC2016  # the inner shell expands it
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --cpu-bind=none \
    bash -c 'exec ray symmetric-run --num-cpus="$SLURM_CPUS_ON_NODE" "$@"' ray \
    --address "$head:${RAY_PORT:-6379}" --min-nodes "$SLURM_JOB_NUM_NODES" \
    -- bash -c 'echo yes > "$0" && exec python -m revo_ray search "$@" --address auto --resume' \
    "$started" "$@" &
step=$!

status=0
wait "$step" || status=$?
if [[ $queued ]]; then # the signal ended `wait`, not the step
    status=0
    wait "$step" || status=$?
fi

if [[ $status == 0 && ! -s $started ]]; then
    echo "Ray did not start on ${nodes[0]}; its messages are above" >&2
    status=3
fi
exit "$status"
