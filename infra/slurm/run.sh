#!/usr/bin/env bash
# Run one recipe on the nodes of a Slurm allocation. Adapt the SBATCH lines, or override them on the command line:
#
#     sbatch --nodes=4 --time=12:00:00 infra/slurm/run.sh /shared/recipe.yaml /shared/store
#
# The same command resumes after a time limit, a lost node or scancel. It needs an environment with mlprune on a file
# system that all nodes see: MLPRUNE_ENV is its folder (default: the active environment). Recipe, models, corpora and
# store must be on such a file system too.

#SBATCH --job-name=mlprune
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=08:00:00
#SBATCH --output=mlprune-%j.log
# Two minutes before the limit the driver is asked to stop, so that the log says so. Results do not depend on it.
#SBATCH --signal=B:TERM@120
# GPUs: --gpus-per-node=N; Ray uses those that Slurm assigns to the job.

set -euo pipefail

if [ "$#" -lt 2 ]; then
    echo "usage: sbatch infra/slurm/run.sh RECIPE STORE" >&2
    exit 2
fi
recipe=$1
store=$2

environment=${MLPRUNE_ENV:-${VIRTUAL_ENV:-}}
if [ -n "$environment" ]; then
    export PATH="$environment/bin:$PATH"
fi
for tool in ray mlprune; do
    if ! command -v "$tool" >/dev/null; then
        echo "infra/slurm/run.sh: no '$tool' in PATH; set MLPRUNE_ENV to an environment that has mlprune" >&2
        exit 2
    fi
done

# A token for this job in a file that only its owner can read; Ray refuses clients without it.
umask 077
private=$(mktemp -d "${MLPRUNE_PRIVATE:-$HOME}/.mlprune-job-XXXXXX")
python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$private/token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$private/token" RAY_USAGE_STATS_ENABLED=0

# Ports depend on the job, so that jobs on one node do not conflict; they are below the system's ephemeral ports.
port=$((20000 + SLURM_JOB_ID % 3000 * 4))
agent_ports=(--dashboard-agent-listen-port=$((port + 2)))
worker_ports=(--min-worker-port=0 --max-worker-port=0)
# Ray's folder is local to each node. Its path is short because it contains sockets.
temporary="${SLURM_TMPDIR:-/tmp}/mlprune-$SLURM_JOB_ID"
size=(--num-cpus="$SLURM_CPUS_PER_TASK" ${SLURM_GPUS_ON_NODE:+--num-gpus="$SLURM_GPUS_ON_NODE"})

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
# The first IPv4 address of the head; on sites with several networks set MLPRUNE_HEAD_IP.
head_ip=${MLPRUNE_HEAD_IP:-$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | tr ' ' '\n' | grep -m1 -F .)}
export RAY_ADDRESS="$head_ip:$port"
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # newer versions of Slurm do not pass it on to steps

# shellcheck disable=SC2329 # called by the trap
finish() {
    trap - EXIT TERM INT
    # shellcheck disable=SC2046 # one word per process
    kill $(jobs -p) 2>/dev/null || true # srun forwards the signal, and Ray stops its processes
    wait || true
    rm -rf "$private"
}
trap finish EXIT

echo "head $head ($RAY_ADDRESS), ${#nodes[@]} nodes, $SLURM_CPUS_PER_TASK CPUs each"
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    env -u RAY_ADDRESS ray start --head --block --node-ip-address="$head_ip" --port="$port" --temp-dir="$temporary" \
    --include-dashboard=false --ray-client-server-port=$((port + 1)) \
    "${agent_ports[@]}" "${worker_ports[@]}" "${size[@]}" >"$private/head.log" 2>&1 &

if [ "${#nodes[@]}" -gt 1 ]; then
    others=$(IFS=,; echo "${nodes[*]:1}")
    srun --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --ntasks-per-node=1 --nodelist="$others" \
        ray start --block --address="$RAY_ADDRESS" --temp-dir="$temporary" \
        --dashboard-agent-listen-port=$((port + 3)) "${worker_ports[@]}" "${size[@]}" >"$private/workers.log" 2>&1 &
fi

# A run plans with the nodes that exist when it starts.
python - "${#nodes[@]}" <<'WAIT' || { cat "$private"/*.log >&2; exit 1; }
import sys
import time

import ray

wanted, deadline = int(sys.argv[1]), time.monotonic() + 300
while True:
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="error")
        break
    except (ConnectionError, RuntimeError):
        if time.monotonic() > deadline:
            raise
        time.sleep(2)
while sum(node["Alive"] for node in ray.nodes()) < wanted:
    if time.monotonic() > deadline:
        sys.exit(f"only {sum(node['Alive'] for node in ray.nodes())} of {wanted} nodes joined")
    time.sleep(1)
WAIT

# In the background, so that the script handles Slurm's signal at once. Its exit code is the job's.
mlprune run "$recipe" --store "$store" --address auto &
driver=$!
trap 'kill -TERM "$driver"' TERM INT
code=0
wait "$driver" || code=$?
while kill -0 "$driver" 2>/dev/null; do
    code=0
    wait "$driver" || code=$?
done
exit "$code"
