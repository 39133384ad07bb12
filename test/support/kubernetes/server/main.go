// A Kubernetes control plane for tests, in one binary: `kubernetes-server apiserver|controllers FLAGS…`.
// The API server is kube-apiserver's own command; `controllers` runs those that rollouts and endpoints need.
package main

import (
	"fmt"
	"os"

	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: kubernetes-server apiserver|controllers FLAGS…")
		os.Exit(2)
	}
	part := os.Args[1]
	os.Args = append([]string{os.Args[0]}, os.Args[2:]...)
	switch part {
	case "apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "controllers":
		if err := runControllers(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "kubernetes-server: no part %q; known: apiserver, controllers\n", part)
		os.Exit(2)
	}
}
