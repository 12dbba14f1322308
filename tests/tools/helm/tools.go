//go:build tools

// Package helm names the Helm that the tests run, so that go.mod and go.sum lock it; built with
// `go build helm.sh/helm/v3/cmd/helm`.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
