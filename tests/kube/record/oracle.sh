#!/usr/bin/env bash
# A real Kubernetes API server on this machine: builds kube-apiserver from the locked module tests/tools/kube-apiserver
# (Go; once, some minutes), starts it with etcd (package etcd-server) in FOLDER, writes FOLDER/kubeconfig, and runs until
# it is interrupted. No controllers, no node: objects change only when a client changes them.
#
# usage: tests/kube/record/oracle.sh FOLDER [PORT]
set -euo pipefail

folder=$(mkdir -p "${1:?usage: oracle.sh FOLDER [PORT]}" && cd "$1" && pwd)
port=${2:-16443}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
cd "$root"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

server=build/tools/bin/kube-apiserver
if [ ! -x "$server" ]; then
  mkdir -p build/tools/bin
  run_step "building kube-apiserver" build/logs/build-kube-apiserver.log \
    env -C tests/tools/kube-apiserver GOTOOLCHAIN=auto GOFLAGS=-mod=readonly nice \
    go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v1.32.13 \
-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=32" -o "$root/$server" . ||
    die "go could not build kube-apiserver"
fi
command -v etcd >/dev/null || die "there is no etcd" "on Debian and Ubuntu: apt-get install etcd-server"

if [ ! -f "$folder/kubeconfig" ]; then
  openssl genrsa -out "$folder/sa.key" 2048 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -days 365 -keyout "$folder/tls.key" -out "$folder/tls.crt" \
    -subj /CN=kube-apiserver -addext subjectAltName=IP:127.0.0.1 2>/dev/null
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" >"$folder/tokens.csv"
  cat >"$folder/kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: real
clusters: [{name: real, cluster: {server: "https://127.0.0.1:$port", certificate-authority: $folder/tls.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: real, context: {cluster: real, user: admin, namespace: default}}]
END
fi

etcd --data-dir "$folder/etcd" --listen-client-urls "http://127.0.0.1:$((port + 1))" \
  --advertise-client-urls "http://127.0.0.1:$((port + 1))" --listen-peer-urls "http://127.0.0.1:$((port + 2))" \
  >"$folder/etcd.log" 2>&1 &
etcd=$!
trap 'kill "$etcd" 2>/dev/null' EXIT
say "KUBECONFIG=$folder/kubeconfig (logs beside it; Ctrl-C ends it)"
"$server" --etcd-servers="http://127.0.0.1:$((port + 1))" --bind-address=127.0.0.1 --secure-port="$port" \
  --tls-cert-file="$folder/tls.crt" --tls-private-key-file="$folder/tls.key" --token-auth-file="$folder/tokens.csv" \
  --anonymous-auth=false --authorization-mode=RBAC --service-account-key-file="$folder/sa.key" \
  --service-account-signing-key-file="$folder/sa.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-cluster-ip-range=10.0.0.0/16 \
  --allow-privileged=true --endpoint-reconciler-type=none --event-ttl=24h >"$folder/apiserver.log" 2>&1
