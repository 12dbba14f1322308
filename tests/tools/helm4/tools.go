//go:build tools

// Package helm4 names the Helm 4 that the tests run, so that go.mod and go.sum lock it; built with
// `go build helm.sh/helm/v4/cmd/helm`.
package helm4

import _ "helm.sh/helm/v4/cmd/helm"
